//! `crypto ikev2 keyring`

use super::{Did, Reader, wrong};
use crate::ios::document::{KeyLine, Peer, PpkLine};
use crate::ios::grammar::{Command, Mode};
use crate::ios::key;
use crate::ios::text::TextLine;
use crate::ios::words::Words;

impl Reader {
    /// The peer that is open.
    pub(super) fn peer(&mut self) -> Option<&mut Peer> {
        if self.mode != Mode::Peer {
            return None;
        }
        self.doc.keyrings.items.get_mut(self.open.block)?.peers.get_mut(self.open.peer)
    }

    pub(super) fn keyring(
        &mut self,
        command: Command,
        mut rest: Words<'_>,
        negated: bool,
        line: &TextLine,
    ) -> Did {
        let at = self.at;
        if command == Command::Keyring {
            let Some(name) = rest.next() else { return wrong("the keyring has no name", "write one") };
            if negated {
                self.doc.keyrings.remove(name);
                self.mode = Mode::Global;
                return Did::Converted;
            }
            let block = self.doc.keyrings.open(name, at);
            self.enter(Mode::Keyring, block);
            return Did::Converted;
        }
        if command == Command::Peer {
            return self.open_peer(rest, negated);
        }
        let skip = 1 + usize::from(negated);
        let typed = self.typed_part(line).to_owned();
        let Some(peer) = self.peer() else { return Did::NotMine };
        match command {
            Command::PeerKeyId => match rest.next() {
                Some(id) if negated => peer.key_ids.retain(|k| k.value != id),
                Some(id) => {
                    // One identity of each kind: the later line wins.
                    peer.key_ids.retain(|k| k.value == id);
                    peer.key_ids.push(crate::ios::document::Said::new(id.to_owned(), at));
                }
                None => return wrong("the key-id is missing", "write the telephone number of the peer"),
            },
            Command::PeerIdentity => match rest.iter().last() {
                Some(_) if negated => peer.identities.clear(),
                Some(name) => peer.identities.push(crate::ios::document::Said::new(name.to_owned(), at)),
                None => return wrong("the identity is missing", "write it"),
            },
            Command::PeerAddress => {
                let text = rest.iter().collect::<Vec<_>>().join(" ");
                peer.address = (!negated).then(|| crate::ios::document::Said::new(text, at));
            }
            Command::PeerKey => {
                if negated {
                    peer.keys.clear();
                    return Did::Converted;
                }
                let Some(read) = key::whole(&typed, skip) else {
                    return wrong("the key is missing", "write the key that the peer has");
                };
                peer.keys.push(KeyLine { at, direction: read.direction, key: read.key });
            }
            Command::PeerPpk => return self.ppk(rest, negated, &typed),
            _ => {}
        }
        Did::Converted
    }

    fn open_peer(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        let Some(name) = rest.next() else { return wrong("the peer has no name", "write one") };
        let Some(keyring) = self.doc.keyrings.items.get_mut(self.open.block) else { return Did::NotMine };
        let found = keyring.peers.iter().rposition(|p| p.name == name);
        if negated {
            if let Some(i) = found {
                keyring.peers.remove(i);
            }
            return Did::Converted;
        }
        // Keyrings hold thousands of peers; a peer that comes again soon is the same one.
        let index = found.unwrap_or_else(|| {
            keyring.peers.push(Peer { name: name.to_owned(), ..Peer::default() });
            keyring.peers.len() - 1
        });
        self.mode = Mode::Peer;
        self.open.peer = index;
        Did::Converted
    }

    /// `ppk manual id ID key [0|6|hex] KEY [required]`
    fn ppk(&mut self, mut rest: Words<'_>, negated: bool, typed: &str) -> Did {
        let at = self.at;
        if negated {
            if let Some(peer) = self.peer() {
                peer.ppk = None;
            }
            return Did::Converted;
        }
        let manual = rest.keyword(&["manual", "dynamic"]);
        if manual != Some("manual") {
            return wrong(
                "a ppk that comes from a key management system is not offered here",
                "agree on a fixed one: `ppk manual id ID key KEY`",
            );
        }
        let id = rest.keyword(&["id"]).and_then(|_| rest.next());
        let (Some(id), Some(_)) = (id, rest.keyword(&["key"])) else {
            return wrong("the ppk is not complete", "write `ppk manual id ID key KEY`");
        };
        let Some(read) = key::word(typed, 5) else { return wrong("the ppk has no key", NO_KEY) };
        let required = read.rest.first().is_some_and(|w| crate::ios::words::shortens(w, "required"));
        let (id, key) = (id.to_owned(), read.key);
        if let Some(peer) = self.peer() {
            peer.ppk = Some(PpkLine { at, id, key, required });
        }
        Did::Converted
    }
}

const NO_KEY: &str = "write the key that the peer has";
