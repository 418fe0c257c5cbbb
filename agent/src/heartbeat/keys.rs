//! The keys of the cluster, and the tag that a packet carries so that nobody else can send one.
//!
//! `key_file` has a line for each key: 32 random bytes in base64. The first one signs, all verify: to change a key, add the
//! new one as the second line everywhere, then make it the first one everywhere, then take the old one out.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake3::Hasher;
use constant_time_eq::constant_time_eq_16;
use zeroize::{Zeroize, Zeroizing};

use crate::config::Heartbeat;

/// Length of a key, in bytes: that of BLAKE3's keyed mode.
pub const KEY_LEN: usize = 32;
/// Length of a tag, in bytes. Half of the hash is the least that RFC 2104, section 5, allows for a truncated one (and 80 bits
/// in any case; SP 800-107 rev. 1, section 5.3.3: 64). At 128 bits a guess hits with a chance of one in 2^128, and a packet
/// stays 16 bytes shorter.
pub const TAG_LEN: usize = 16;
/// Most keys: two while one takes the other's place, and two to spare. A packet that is forged costs this many hashes.
pub const MAX_KEYS: usize = 4;
/// Longest file, in bytes; four keys with a comment each are below 1 KiB.
const MAX_FILE: usize = 16 * 1024;
/// Mode bits of all who are neither the owner nor in the group.
const OTHERS: u32 = 0o007;
/// How every complaint about what a file says ends.
const ALLOWED: &str = "allowed: 1 to 4 lines of 32 random bytes in base64 each, blank lines, and comments that start with #; \
                       a new key: head -c 32 /dev/urandom | base64";

/// Why there are no keys. It never shows what is in the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read.
    #[error("{}: cannot read the keys: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("{}: is not a regular file; {ALLOWED}", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Whoever has an account on this host may read or change the keys.
    #[error("{path}: is open to others (mode {mode:04o}); allowed: owner and group only, run: chmod 600 {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is longer than any list of keys.
    #[error("{}: is longer than {MAX_FILE} bytes; {ALLOWED}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A line is no key.
    #[error("{}:{line}: is not {KEY_LEN} bytes in base64, which are 44 characters; {ALLOWED}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A key is there twice: whoever wrote it wanted another one.
    #[error("{}:{line}: is the key of line {first} again; {ALLOWED}", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The line that has it first.
        first: usize,
    },
    /// There are more than [`MAX_KEYS`].
    #[error("{}:{line}: is one key too many; {ALLOWED}", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// The line of the first one beyond.
        line: usize,
    },
    /// There is no key at all.
    #[error("{}: has no key; {ALLOWED}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// It is cleared when it is dropped, and stays where it was made, so that no copy is left behind by a move.
type Key = Box<Zeroizing<[u8; KEY_LEN]>>;

/// The keys of the cluster; see the module's documentation.
pub struct Keys {
    signs: Key,
    /// Those that only verify.
    further: Vec<Key>,
}

/// The keys that hold now: a reload puts others in their place.
#[derive(Debug, Default)]
pub struct KeyRing(RwLock<Option<Arc<Keys>>>);

impl KeyRing {
    /// With these keys; without any, packets carry no tag.
    #[must_use]
    pub fn new(keys: Option<Keys>) -> Self {
        Self(RwLock::new(keys.map(Arc::new)))
    }

    /// The keys that hold now.
    #[must_use]
    pub fn get(&self) -> Option<Arc<Keys>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts others in their place.
    pub fn replace(&self, keys: Option<Keys>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.map(Arc::new);
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.count())
    }
}

impl Keys {
    /// Those that the configuration names; none where it wants none.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of(heartbeat: &Heartbeat) -> Result<Option<Self>, KeyError> {
        let path = heartbeat.key_file.as_deref().filter(|_| !heartbeat.insecure);
        path.map(Self::load).transpose()
    }

    /// How many there are, at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.further.len()
    }

    /// Tells this cluster from others, and nothing of its keys. It changes with the first of them.
    #[must_use]
    pub fn fleet(&self) -> u64 {
        // Nobody has no name: this is the tag of no packet.
        let tag = tag(&self.signs, "", b"lacuna fleet 1");
        tag.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// How many there are and what they do, in words.
    #[must_use]
    pub fn said(&self) -> String {
        match self.count() {
            1 => "1 key".to_owned(),
            count => format!("{count} keys, the first one signs"),
        }
    }

    /// Reads `key_file`.
    ///
    /// # Errors
    /// It cannot be read, is open to others, or says something else than keys.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read(path)?;
        Self::parse(&text, path)
    }

    /// Reads what a `key_file` says; `path` is what errors call it.
    ///
    /// # Errors
    /// It says something else than keys.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, KeyError> {
        let path = || path.to_owned();
        let mut keys: Vec<(usize, Key)> = Vec::with_capacity(MAX_KEYS);
        for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let key = decode(text).ok_or_else(|| KeyError::NoKey { path: path(), line })?;
            if let Some((first, _)) = keys.iter().find(|(_, known)| *known == key) {
                return Err(KeyError::Twice { path: path(), line, first: *first });
            }
            if keys.len() == MAX_KEYS {
                return Err(KeyError::TooMany { path: path(), line });
            }
            keys.push((line, key));
        }
        let mut keys = keys.into_iter().map(|(_, key)| key);
        let signs = keys.next().ok_or_else(|| KeyError::Empty { path: path() })?;
        Ok(Self { signs, further: keys.collect() })
    }

    /// The tag of a packet to `receiver`, by the first key. It holds for that receiver alone: the packet cannot be sent on
    /// to another one.
    #[must_use]
    pub fn sign(&self, receiver: &str, packet: &[u8]) -> [u8; TAG_LEN] {
        tag(&self.signs, receiver, packet)
    }

    /// Whether one of the keys gives this tag. How long that takes does not depend on how much of the tag is right.
    #[must_use]
    pub fn verify(&self, receiver: &str, packet: &[u8], tagged: &[u8; TAG_LEN]) -> bool {
        let mut keys = std::iter::once(&self.signs).chain(&self.further);
        keys.any(|key| constant_time_eq_16(&tag(key, receiver, packet), tagged))
    }
}

/// BLAKE3's keyed mode over the receiver, behind its length so that nothing of it can be taken for packet, and the packet.
fn tag(key: &[u8; KEY_LEN], receiver: &str, packet: &[u8]) -> [u8; TAG_LEN] {
    let length = u64::try_from(receiver.len()).unwrap_or(u64::MAX);
    let mut hasher = Hasher::new_keyed(key);
    hasher.update(&length.to_be_bytes()).update(receiver.as_bytes()).update(packet);
    let hash = hasher.finalize();
    hasher.zeroize();
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&hash.as_bytes()[..TAG_LEN]);
    tag
}

fn decode(text: &[u8]) -> Option<Key> {
    let mut key = Key::new(Zeroizing::new([0; KEY_LEN]));
    let length = STANDARD.decode_slice(text, key.as_mut_slice()).ok()?;
    (length == KEY_LEN).then_some(key)
}

/// The whole file. Its permissions are those of what was opened, whatever the path leads to by then.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let unreadable = |source| KeyError::Unreadable { path: path.to_owned(), source };
    // Opening a pipe would wait for somebody who writes into it.
    let open = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = open.map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(KeyError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    // With room for all of it: a vector that grows leaves a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE + 2));
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() > MAX_FILE {
        return Err(KeyError::TooLong { path: path.to_owned() });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PACKET: &[u8] = b"a heartbeat, more or less";

    /// A key of its own for each number.
    fn line(number: u8) -> String {
        STANDARD.encode([number; KEY_LEN])
    }

    fn parse(text: &str) -> Result<Keys, KeyError> {
        Keys::parse(text.as_bytes(), Path::new("k"))
    }

    fn keys(numbers: &[u8]) -> Keys {
        parse(&numbers.iter().map(|number| line(*number) + "\n").collect::<String>()).unwrap()
    }

    #[test]
    fn a_tag_is_half_of_the_keyed_hash_over_receiver_and_packet() {
        let input = [&[0, 0, 0, 0, 0, 0, 0, 3], "lb1".as_bytes(), PACKET].concat();
        let expected = blake3::keyed_hash(&[7; KEY_LEN], &input);
        assert_eq!(keys(&[7]).sign("lb1", PACKET), expected.as_bytes()[..TAG_LEN]);
    }

    #[test]
    fn one_bit_anywhere_makes_another_packet() {
        let keys = keys(&[7]);
        let tag = keys.sign("lb1", PACKET);
        assert!(keys.verify("lb1", PACKET, &tag));
        for bit in 0..PACKET.len() * 8 {
            let mut packet = PACKET.to_vec();
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(!keys.verify("lb1", &packet, &tag), "bit {bit} of the packet");
        }
        for bit in 0..TAG_LEN * 8 {
            let mut tag = tag;
            tag[bit / 8] ^= 1 << (bit % 8);
            assert!(!keys.verify("lb1", PACKET, &tag), "bit {bit} of the tag");
        }
        for bit in 0..KEY_LEN * 8 {
            let mut key = [7; KEY_LEN];
            key[bit / 8] ^= 1 << (bit % 8);
            assert!(!parse(&STANDARD.encode(key)).unwrap().verify("lb1", PACKET, &tag), "bit {bit} of the key");
        }
        assert!(!keys.verify("lb1", &PACKET[1..], &tag));
        assert!(!keys.verify("lb1", &[PACKET, b"\0"].concat(), &tag));
    }

    #[test]
    fn a_packet_holds_for_its_receiver_alone() {
        let keys = keys(&[7]);
        let tag = keys.sign("lb1", PACKET);
        assert!(!keys.verify("lb2", PACKET, &tag));
        assert!(!keys.verify("", PACKET, &tag));
        // What belongs to the name cannot be moved into the packet.
        assert!(!keys.verify("lb", &[b"1", PACKET].concat(), &tag));
        assert!(!keys.verify(&format!("lb1{}", char::from(PACKET[0])), &PACKET[1..], &tag));
    }

    #[test]
    fn a_key_is_changed_in_three_steps_without_a_refused_packet() {
        let steps = [keys(&[1]), keys(&[1, 2]), keys(&[2, 1]), keys(&[2])];
        for pair in steps.windows(2) {
            for (one, other) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                assert!(other.verify("lb1", PACKET, &one.sign("lb1", PACKET)), "{one:?} to {other:?}");
            }
        }
        assert_eq!(steps[1].sign("lb1", PACKET), steps[0].sign("lb1", PACKET), "the first one signs");
        assert_eq!(steps[2].sign("lb1", PACKET), steps[3].sign("lb1", PACKET));
        assert!(!steps[3].verify("lb1", PACKET, &steps[0].sign("lb1", PACKET)), "the old one is out");
        let all = keys(&[1, 2, 3, 4]);
        for number in 1..=4 {
            assert!(all.verify("lb1", PACKET, &keys(&[number]).sign("lb1", PACKET)), "key {number}");
        }
        assert!(!all.verify("lb1", PACKET, &keys(&[5]).sign("lb1", PACKET)));
    }

    #[test]
    fn comments_blank_lines_and_line_ends_do_not_count() {
        let text = format!("# of 2026\r\n\r\n  {}  \r\n\n#{}\n{}", line(1), line(9), line(2));
        let read = parse(&text).unwrap();
        assert_eq!(read.sign("lb1", PACKET), keys(&[1]).sign("lb1", PACKET));
        assert_eq!(format!("{read:?}"), "Keys(2)");
    }

    #[test]
    fn every_wrong_line_is_named_and_none_is_shown() {
        let (good, url_safe) = (line(7), line(0xfb).replace('+', "-").replace('/', "_"));
        let short = STANDARD.encode([7; KEY_LEN - 1]);
        let long = STANDARD.encode([7; KEY_LEN + 1]);
        let hex = "07".repeat(KEY_LEN);
        for wrong in ["secret", &short, &long, &hex, &url_safe, good.trim_end_matches('='), &format!("{good}{good}")] {
            let error = parse(&format!("# mine\n\n{good}\n{wrong}\n")).unwrap_err().to_string();
            let expected = format!("k:4: is not 32 bytes in base64, which are 44 characters; {ALLOWED}");
            assert_eq!(error, expected, "for {wrong}");
        }
        let not_text = Keys::parse(&[0xff; 44], Path::new("k")).unwrap_err();
        assert!(matches!(not_text, KeyError::NoKey { line: 1, .. }), "{not_text}");
        for (text, expected) in [
            (String::new(), "k: has no key"),
            ("# nothing\n\n".to_owned(), "k: has no key"),
            (format!("{good}\n#\n{good}"), "k:3: is the key of line 1 again"),
            ((1..=5).map(|number| line(number) + "\n").collect(), "k:5: is one key too many"),
        ] {
            assert_eq!(parse(&text).unwrap_err().to_string(), format!("{expected}; {ALLOWED}"));
        }
    }

    #[test]
    fn a_file_is_for_its_owner_and_group_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        fs::write(&path, line(7)).unwrap();
        for mode in [0o604, 0o602, 0o601, 0o644, 0o666] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let shown = path.display();
            let expected = format!(
                "{shown}: is open to others (mode {mode:04o}); allowed: owner and group only, run: chmod 600 {shown}"
            );
            assert_eq!(Keys::load(&path).unwrap_err().to_string(), expected);
        }
        for mode in [0o400, 0o600, 0o640] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(Keys::load(&path).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_file_or_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (missing, pipe, long) = (dir.path().join("none"), dir.path().join("pipe"), dir.path().join("long"));
        let private = Permissions::from_mode(0o600);
        assert!(Keys::load(&missing).unwrap_err().to_string().contains("No such file"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        fs::write(&long, "#".repeat(MAX_FILE)).unwrap();
        fs::set_permissions(&long, private).unwrap();
        assert!(matches!(Keys::load(&pipe), Err(KeyError::NotAFile { .. })));
        assert!(matches!(Keys::load(dir.path()), Err(KeyError::NotAFile { .. })));
        assert!(matches!(Keys::load(&long), Err(KeyError::Empty { .. })), "of the greatest length");
        fs::write(&long, "#".repeat(MAX_FILE + 1)).unwrap();
        assert!(matches!(Keys::load(&long), Err(KeyError::TooLong { .. })));
    }
}
