//! What a push service wants to see and what it must not: the door's signature (VAPID, RFC 8292), and a message only the
//! browser can read (RFC 8291 over RFC 8188).
//!
//! All cryptography is ring's. A crate for it would bring a second set of curves and ciphers along; docs/dependencies.md.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;
use url::Url;

use super::error::HookError;
use crate::intercom::PushAddress;

/// How long a signature is good; a day is the most (RFC 8292 section 2).
const GOOD_S: u64 = 12 * 3600;
/// The size of the one record (RFC 8188 section 2): larger than any message here.
const RECORD: u32 = 4096;
/// The most a message may hold so that it fits, in bytes: push services take 4096 at the least.
const MOST: usize = 3800;
const SALT: usize = 16;

/// The door as push services know it.
pub(super) struct Identity {
    pair: EcdsaKeyPair,
    contact: String,
    rng: SystemRandom,
}

/// The door's public key as browsers want it (`applicationServerKey`): base64url without padding.
///
/// # Errors
/// When the key is none.
pub fn public_key(pkcs8: &[u8]) -> Result<String, HookError> {
    let pair = pair(pkcs8, &SystemRandom::new())?;
    Ok(URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()))
}

fn pair(pkcs8: &[u8], rng: &SystemRandom) -> Result<EcdsaKeyPair, HookError> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, rng)
        .map_err(|_| HookError::Seal { what: "the door's key is none" })
}

impl Identity {
    /// `contact`: whom a push service may write to, `mailto:` or `https:`.
    pub(super) fn new(pkcs8: &[u8], contact: &str) -> Result<Self, HookError> {
        let rng = SystemRandom::new();
        Ok(Self { pair: pair(pkcs8, &rng)?, contact: contact.to_owned(), rng })
    }

    /// The header for this push service; `now` in unix seconds.
    pub(super) fn authorization(&self, endpoint: &str, now: u64) -> Result<String, HookError> {
        let origin = Url::parse(endpoint).map(|url| url.origin().ascii_serialization());
        let origin = origin.map_err(|_| HookError::Seal { what: "a phone's address is none" })?;
        let head = json!({"typ": "JWT", "alg": "ES256"});
        let claims = json!({"aud": origin, "exp": now + GOOD_S, "sub": self.contact});
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(&claims));
        let signature = self.pair.sign(&self.rng, signed.as_bytes());
        let signature = signature.map_err(|_| HookError::Seal { what: "no random numbers" })?;
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
        let key = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        Ok(format!("vapid t={token}, k={key}"))
    }
}

/// A message for this browser alone.
pub(super) fn seal(address: &PushAddress, message: &[u8]) -> Result<Vec<u8>, HookError> {
    if message.len() > MOST {
        return Err(HookError::Seal { what: "the message is too long" });
    }
    let failed = |what| move |_| HookError::Seal { what };
    let rng = SystemRandom::new();
    let mut salt = [0; SALT];
    rng.fill(&mut salt).map_err(failed("no random numbers"))?;
    let own = EphemeralPrivateKey::generate(&ECDH_P256, &rng).map_err(failed("no key"))?;
    let public = own.compute_public_key().map_err(failed("no key"))?;
    let theirs = UnparsedPublicKey::new(&ECDH_P256, address.key());
    let keys = agree_ephemeral(own, &theirs, |shared| {
        keys(shared, address.auth(), address.key(), public.as_ref(), &salt)
    });
    // Its key is no point of the curve.
    let (key, nonce) = keys.map_err(failed("a phone's key is none"))?.map_err(failed("no keys"))?;

    let mut sealed = Vec::with_capacity(message.len() + 128);
    sealed.extend_from_slice(message);
    // The end of the last record.
    sealed.push(2);
    let key = UnboundKey::new(&AES_128_GCM, &key).map_err(failed("no key"))?;
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
        .map_err(failed("it cannot be encrypted"))?;
    let public = public.as_ref();
    let mut whole = Vec::with_capacity(SALT + 5 + public.len() + sealed.len());
    whole.extend_from_slice(&salt);
    whole.extend_from_slice(&RECORD.to_be_bytes());
    whole.push(u8::try_from(public.len()).unwrap_or(0));
    whole.extend_from_slice(public);
    whole.extend_from_slice(&sealed);
    Ok(whole)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(prk: &Prk, info: &[&[u8]]) -> Result<[u8; N], ring::error::Unspecified> {
    let mut out = [0; N];
    prk.expand(info, Length(N))?.fill(&mut out)?;
    Ok(out)
}

/// RFC 8291 section 3.4: from what both sides agreed on to the key of the record and its nonce.
fn keys(
    shared: &[u8],
    auth: &[u8],
    theirs: &[u8],
    own: &[u8],
    salt: &[u8],
) -> Result<([u8; 16], [u8; 12]), ring::error::Unspecified> {
    let prk = Salt::new(HKDF_SHA256, auth).extract(shared);
    let ikm: [u8; 32] = expand(&prk, &[b"WebPush: info\0", theirs, own])?;
    let prk = Salt::new(HKDF_SHA256, salt).extract(&ikm);
    let key = expand(&prk, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce = expand(&prk, &[b"Content-Encoding: nonce\0"])?;
    Ok((key, nonce))
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey as Verifier};

    use super::*;

    fn b64(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).expect("base64url")
    }

    /// RFC 8291 appendix A.
    #[test]
    fn the_keys_are_those_of_the_example_in_the_standard() {
        let (key, nonce) = keys(
            &b64("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs"),
            &b64("BTBZMqHH6r4Tts7J_aSIgg"),
            &b64("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
            &b64("BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"),
            &b64("DGv6ra1nlYgDCS1FRnbzlw"),
        )
        .expect("keys");
        assert_eq!(key.to_vec(), b64("oIhVW04MRdy2XN9CiKLxTg"));
        assert_eq!(nonce.to_vec(), b64("4h_95klXJ5E_qnoN"));
    }

    #[test]
    fn the_browser_alone_can_open_it_and_each_time_it_looks_different() {
        let rng = SystemRandom::new();
        let own = EphemeralPrivateKey::generate(&ECDH_P256, &rng).expect("a key");
        let public = own.compute_public_key().expect("a key");
        let public: [u8; 65] = public.as_ref().try_into().expect("a point");
        let address = PushAddress::new("https://push.example/x", public, [7; 16]).expect("one");
        let sealed = seal(&address, b"it rings").expect("sealed");
        assert_ne!(sealed, seal(&address, b"it rings").expect("sealed"));
        let (head, rest) = sealed.split_at(21);
        assert_eq!(head[16..], [0, 0, 16, 0, 65]);
        let (theirs, secret) = rest.split_at(65);
        let agreed = agree_ephemeral(own, &UnparsedPublicKey::new(&ECDH_P256, theirs), |shared| {
            keys(shared, &[7; 16], &public, theirs, &head[..16]).expect("keys")
        });
        let (key, nonce) = agreed.expect("agreed");
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).expect("a key"));
        let mut secret = secret.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = key.open_in_place(nonce, Aad::empty(), &mut secret).expect("opened");
        assert_eq!(plain, b"it rings\x02");
    }

    #[test]
    fn a_key_that_is_no_point_and_a_message_too_long_are_refused() {
        let mut key = [1; 65];
        key[0] = 4;
        let address = PushAddress::new("https://push.example/x", key, [7; 16]).expect("one");
        assert!(seal(&address, b"x").is_err());
        assert!(seal(&address, &[0; MOST + 1]).is_err());
        assert!(Identity::new(b"nonsense", "mailto:a@b.example").is_err());
    }

    #[test]
    fn the_signature_names_the_service_the_contact_and_its_end() {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.expect("a key");
        let identity = Identity::new(pkcs8.as_ref(), "mailto:a@b.example").expect("a door");
        let header = identity.authorization("https://push.example:8443/x?y", 1_000).expect("one");
        let rest = header.strip_prefix("vapid t=").expect("the scheme");
        let (token, key) = rest.split_once(", k=").expect("two parts");
        assert_eq!(key, public_key(pkcs8.as_ref()).expect("the key"));
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let verifier = Verifier::new(&ECDSA_P256_SHA256_FIXED, b64(key));
        verifier.verify(signed.as_bytes(), &b64(signature)).expect("a good signature");
        let claims = signed.split_once('.').map(|(_, claims)| b64(claims)).expect("two parts");
        let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
        assert_eq!(
            claims,
            json!({"aud": "https://push.example:8443", "exp": 44_200, "sub": "mailto:a@b.example"})
        );
    }
}
