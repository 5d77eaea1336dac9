//! Proofs that a person knows a secret, without telling it: those of SCRAM (RFC 5802 section 3) with HMAC-SHA-256.
//!
//! Pure. The door keeps the stored key alone: whoever reads it cannot make a proof. SCRAM's salted password hashing
//! is left out, since the secret is random and as long as a key (docs/door-protocol.md).

use ring::{digest, hmac};
use subtle::ConstantTimeEq;

use crate::intercom::{CallId, Name, Nonce, PeerId, Purpose};

/// Bytes of a secret: 128 bits cannot be tried out.
pub const SECRET: usize = 16;
/// Bytes of keys and proofs.
pub const KEY: usize = 32;

/// What the client key is derived with.
const CLIENT: &[u8] = b"intercomd person 1";
/// What every signed text begins with.
const TEXT: &str = "intercomd 1";

fn mac(key: &[u8], text: &[u8]) -> [u8; KEY] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let mut bytes = [0; KEY];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

fn hash(bytes: &[u8]) -> [u8; KEY] {
    let mut hash = [0; KEY];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// What the door keeps of a secret.
pub fn stored_key(secret: &[u8; SECRET]) -> [u8; KEY] {
    hash(&mac(secret, CLIENT))
}

/// What a proof is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Bond<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// The call.
    pub call: &'a CallId,
    /// The number it answers.
    pub nonce: Nonce,
    /// The page it comes from, by its id on its uplink.
    pub peer: &'a PeerId,
    /// Who it says it is.
    pub person: &'a Name,
}

impl Bond<'_> {
    fn text(&self) -> String {
        let nonce = hex::encode(self.nonce.0);
        let parts = [
            TEXT,
            self.purpose.name(),
            &self.call.0,
            &nonce,
            self.peer.as_str(),
            self.person.as_str(),
        ];
        parts.join("\n")
    }
}

/// Makes a proof, as a page does.
pub fn prove(secret: &[u8; SECRET], bond: Bond<'_>) -> [u8; KEY] {
    let client = mac(secret, CLIENT);
    xor(client, mac(&hash(&client), bond.text().as_bytes()))
}

/// Whether a proof was made with the secret of this stored key, for exactly this. Takes as long for a wrong one.
pub fn is_good(stored: &[u8; KEY], proof: &[u8; KEY], bond: Bond<'_>) -> bool {
    let client = xor(*proof, mac(stored, bond.text().as_bytes()));
    hash(&client).ct_eq(stored).into()
}

fn xor(mut left: [u8; KEY], right: [u8; KEY]) -> [u8; KEY] {
    left.iter_mut().zip(right).for_each(|(left, right)| *left ^= right);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET_BYTES: [u8; SECRET] = *b"0123456789abcdef";

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    #[test]
    fn a_proof_is_good_for_exactly_what_it_was_made_for() {
        let (call, other_call) = (CallId("c-1-7".into()), CallId("c-1-8".into()));
        let (peer, other_peer) = (PeerId::from("page-1"), PeerId::from("page-2"));
        let (anna, ben) = (name("Anna"), name("Ben"));
        let stored = stored_key(&SECRET_BYTES);
        let bond = Bond {
            purpose: Purpose::Open,
            call: &call,
            nonce: Nonce([7; 32]),
            peer: &peer,
            person: &anna,
        };
        let proof = prove(&SECRET_BYTES, bond);
        assert!(is_good(&stored, &proof, bond));
        for other in [
            Bond { purpose: Purpose::Log, ..bond },
            Bond { call: &other_call, ..bond },
            Bond { nonce: Nonce([8; 32]), ..bond },
            Bond { peer: &other_peer, ..bond },
            Bond { person: &ben, ..bond },
        ] {
            assert!(!is_good(&stored, &proof, other), "{other:?}");
        }
        assert!(!is_good(&stored_key(b"0123456789abcdeg"), &proof, bond));
    }

    #[test]
    fn what_the_door_keeps_makes_no_proof() {
        let (call, peer, anna) = (CallId("c-1".into()), PeerId::from("p"), name("Anna"));
        let stored = stored_key(&SECRET_BYTES);
        let bond = Bond {
            purpose: Purpose::Open,
            call: &call,
            nonce: Nonce([0; 32]),
            peer: &peer,
            person: &anna,
        };
        // The best a thief of the file can do: take the stored key for the client's.
        let forged = xor(stored, mac(&stored, bond.text().as_bytes()));
        assert!(!is_good(&stored, &forged, bond));
        for bit in 0..256 {
            let mut proof = prove(&SECRET_BYTES, bond);
            proof[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_good(&stored, &proof, bond), "bit {bit}");
        }
    }

    #[test]
    fn the_figures_are_those_of_any_other_implementation() {
        // Made with Python's hmac and hashlib from docs/door-protocol.md.
        let (call, peer, anna) =
            (CallId("c-5f0c2a91-17".into()), PeerId::from("7d1e0c52"), name("Anna"));
        let bond = Bond {
            purpose: Purpose::Open,
            call: &call,
            nonce: Nonce([0x9f; 32]),
            peer: &peer,
            person: &anna,
        };
        assert_eq!(
            hex::encode(stored_key(&SECRET_BYTES)),
            "085038370cd77c1001833ade776b121a7210fe90b47375b2b0d3c0b95478eb3b"
        );
        assert_eq!(
            hex::encode(prove(&SECRET_BYTES, bond)),
            "04e9f23d638afbfac4c8acff8e9f563efa2c0d9428af46fd16a52f2a20df260c"
        );
    }
}
