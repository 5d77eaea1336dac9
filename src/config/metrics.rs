//! `[metrics]`: where numbers about the door are served to programs that watch it.

use std::net::SocketAddr;

use super::file::Desk;
use super::problem::{At, wrong};
use super::reader::Reader;

/// What the table says.
pub(super) struct Wishes {
    listen: Option<At<String>>,
}

pub(super) fn read(mut table: Reader<'_>) -> Wishes {
    let wishes = Wishes { listen: table.text("listen") };
    table.finish();
    wishes
}

impl Wishes {
    /// Where to listen; `None`: nowhere.
    pub(super) fn settle(self, desk: &Desk<'_>) -> Option<SocketAddr> {
        let listen = self.listen.filter(|listen| listen.value != "off")?;
        let Ok(address) = listen.value.parse::<SocketAddr>() else {
            let what = format!("is {:?}, which is not an address with a port", listen.value);
            let fix = "write \"127.0.0.1:9464\" for this machine only, or \"off\"";
            return desk.refused(&listen.place, wrong(what, fix));
        };
        if !address.ip().is_loopback() {
            desk.notes.warn(
                &listen.place,
                "shows to everybody in the network, without a password, when somebody is at the door and when nobody \
                 answers",
            );
        }
        Some(address)
    }
}
