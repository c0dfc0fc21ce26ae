//! Redis' protocol, version 2: commands in, replies out.

use std::ops::Range;

/// The longest argument, and the most of them: what is longer is refused before it is kept.
pub(crate) const LONGEST: usize = 16 << 20;
pub(crate) const MOST: usize = 1 << 16;
/// The longest line that is no argument: a length, or a command typed by hand.
const LINE: usize = 64 << 10;

/// The words of one command, and how many bytes it took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Command {
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) length: usize,
}

/// Bytes that can't be told apart from the next command: the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("Protocol error: too big count of arguments or none")]
    Count,
    #[error("Protocol error: invalid bulk length")]
    Length,
    #[error("Protocol error: expected '$'")]
    Dollar,
    #[error("Protocol error: no end of line")]
    Line,
}

/// The first command of `bytes`; none while it is not there whole.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Command>, ProtocolError> {
    let Some(first) = line(bytes, 0)? else { return Ok(None) };
    let Some((b'*', count)) = bytes[first.clone()].split_first() else {
        // Typed by hand: words between blanks.
        let words = bytes[first.clone()].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        return Ok(Some(Command { words: words.map(<[u8]>::to_vec).collect(), length: first.end + 2 }));
    };
    let count = number(count).filter(|count| *count <= MOST).ok_or(ProtocolError::Count)?;
    let (mut at, mut words) = (first.end + 2, Vec::new());
    for _ in 0..count {
        let Some(head) = line(bytes, at)? else { return Ok(None) };
        let Some((b'$', length)) = bytes[head.clone()].split_first() else { return Err(ProtocolError::Dollar) };
        let length = number(length).filter(|length| *length <= LONGEST).ok_or(ProtocolError::Length)?;
        let (from, to) = (head.end + 2, head.end + 2 + length);
        let Some(end) = bytes.get(to..to + 2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err(ProtocolError::Line);
        }
        words.push(bytes[from..to].to_vec());
        at = to + 2;
    }
    Ok(Some(Command { words, length: at }))
}

/// A line without its end.
fn line(bytes: &[u8], from: usize) -> Result<Option<Range<usize>>, ProtocolError> {
    let rest = &bytes[from..];
    match rest.windows(2).take(LINE).position(|two| two == b"\r\n") {
        Some(length) => Ok(Some(from..from + length)),
        None if rest.len() > LINE => Err(ProtocolError::Line),
        None => Ok(None),
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Simple(&'static str),
    /// With its kind first, as in `ERR no such thing`.
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
}

impl Reply {
    pub(crate) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let head = |out: &mut Vec<u8>, kind: u8, text: &[u8]| {
            out.push(kind);
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        };
        match self {
            Self::Simple(text) => head(out, b'+', text.as_bytes()),
            // One that went over two lines would be taken for two replies.
            Self::Error(text) => head(out, b'-', text.replace(['\r', '\n'], " ").as_bytes()),
            Self::Integer(number) => head(out, b':', number.to_string().as_bytes()),
            Self::Bulk(bytes) => {
                head(out, b'$', bytes.len().to_string().as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Nil => out.extend_from_slice(b"$-1\r\n"),
            Self::Array(replies) => {
                head(out, b'*', replies.len().to_string().as_bytes());
                replies.iter().for_each(|reply| reply.put(out));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(words: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        Reply::Array(words.iter().cloned().map(Reply::Bulk).collect()).put(&mut out);
        out
    }

    proptest! {
        #[test]
        fn commands_come_out_as_they_went_in_and_not_before_they_are_whole(
            commands in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..5), 1..4),
        ) {
            let bytes: Vec<u8> = commands.iter().flat_map(|words| encoded(words)).collect();
            let mut at = 0;
            for words in &commands {
                let whole = encoded(words).len();
                for cut in 0..whole {
                    prop_assert_eq!(parse(&bytes[at..at + cut]), Ok(None));
                }
                prop_assert_eq!(parse(&bytes[at..]), Ok(Some(Command { words: words.clone(), length: whole })));
                at += whole;
            }
        }

        #[test]
        fn whatever_comes_is_a_command_or_an_error_or_not_whole(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(command)) = parse(&bytes) {
                prop_assert!(command.length <= bytes.len() && command.length > 0);
            }
        }
    }

    #[test]
    fn what_nobody_believes_is_refused_before_it_comes() {
        assert_eq!(parse(b"*99999999999999999999\r\n"), Err(ProtocolError::Count));
        assert_eq!(parse(b"*65537\r\n"), Err(ProtocolError::Count));
        assert_eq!(parse(b"*-1\r\n"), Err(ProtocolError::Count));
        assert_eq!(parse(b"*1\r\n$16777217\r\n"), Err(ProtocolError::Length));
        assert_eq!(parse(b"*1\r\n$-1\r\n"), Err(ProtocolError::Length));
        assert_eq!(parse(b"*1\r\n:1\r\n"), Err(ProtocolError::Dollar));
        assert_eq!(parse(b"*1\r\n$1\r\nxyz"), Err(ProtocolError::Line));
        assert_eq!(parse(&vec![b'x'; LINE + 2]), Err(ProtocolError::Line));
    }

    #[test]
    fn commands_may_be_typed_by_hand() {
        let words = vec![b"SET".to_vec(), b"a".to_vec(), b"b".to_vec()];
        assert_eq!(parse(b" SET  a b \r\nPING"), Ok(Some(Command { words, length: 12 })));
        assert_eq!(parse(b"\r\n"), Ok(Some(Command { words: Vec::new(), length: 2 })));
        assert_eq!(parse(b"PING"), Ok(None));
    }

    #[test]
    fn replies_are_as_clients_expect_them() {
        let mut out = Vec::new();
        let replies =
            vec![Reply::Nil, Reply::Integer(-3), Reply::Bulk(b"\r\n".to_vec()), Reply::Error("ERR a\r\nb".into())];
        Reply::Array(replies).put(&mut out);
        assert_eq!(out, b"*4\r\n$-1\r\n:-3\r\n$2\r\n\r\n\r\n-ERR a  b\r\n");
    }
}
