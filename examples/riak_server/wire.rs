//! Frames: four bytes that say how many follow, one that says what they are, and a message.

use std::io::{self, Read};

use prost::Message;

/// The longest frame that is taken: what does not fit into the cluster's values is refused by it, with a better answer.
pub(crate) const LONGEST: u32 = 16 << 20;

/// What a client sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) code: u8,
    pub(crate) body: Vec<u8>,
}

/// Why no more frames can be read from a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The connection broke, or ended within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A frame that claims more than [`LONGEST`].
    #[error("a message of {0} bytes is longer than the limit of {LONGEST}")]
    TooLong(u32),
    /// A frame without a code.
    #[error("a message without a code")]
    Empty,
}

/// The next frame; none at the end of the connection.
pub(crate) fn read_frame(from: &mut impl Read) -> Result<Option<Frame>, FrameError> {
    let mut head = [0; 5];
    let first = loop {
        match from.read(&mut head[..1]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..4])?;
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    match length {
        0 => return Err(FrameError::Empty),
        LONGEST.. => return Err(FrameError::TooLong(length)),
        _ => from.read_exact(&mut head[4..])?,
    }
    // No room is made for what is only claimed to come.
    let mut body = Vec::new();
    let wanted = u64::from(length) - 1;
    if from.take(wanted).read_to_end(&mut body)? as u64 != wanted {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(Frame { code: head[4], body }))
}

/// Appends a frame.
pub(crate) fn put_frame(out: &mut Vec<u8>, code: u8, message: &impl Message) {
    let length = message.encoded_len() as u32 + 1;
    out.extend_from_slice(&length.to_be_bytes());
    out.push(code);
    message.encode(out).expect("a vector grows");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::PutRequest;
    use proptest::prelude::*;

    /// Gives so many bytes at a time.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            keys in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5), step in 1_usize..400
        ) {
            let messages: Vec<_> =
                keys.into_iter().map(|key| PutRequest { key: Some(key), ..PutRequest::default() }).collect();
            let mut bytes = Vec::new();
            messages.iter().for_each(|message| put_frame(&mut bytes, 11, message));
            let mut from = Dripping(&bytes, step);
            for message in &messages {
                let frame = read_frame(&mut from).unwrap().unwrap();
                prop_assert_eq!(frame.code, 11);
                prop_assert_eq!(&PutRequest::decode(&frame.body[..]).unwrap(), message);
            }
            prop_assert!(read_frame(&mut from).unwrap().is_none());
        }

        #[test]
        fn a_frame_that_breaks_off_is_an_error_and_no_frame(cut in 1_usize..20) {
            let mut bytes = Vec::new();
            put_frame(&mut bytes, 11, &PutRequest { bucket: vec![7; 13], ..PutRequest::default() });
            prop_assume!(cut < bytes.len());
            prop_assert!(matches!(read_frame(&mut &bytes[..cut]), Err(FrameError::Io(_))));
        }
    }

    #[test]
    fn lengths_that_nobody_believes_are_refused_before_anything_is_read() {
        assert!(matches!(read_frame(&mut &[0xff, 0xff, 0xff, 0xff][..]), Err(FrameError::TooLong(u32::MAX))));
        assert!(matches!(read_frame(&mut &[0, 0, 0, 0, 9][..]), Err(FrameError::Empty)));
        // A length that is believed makes no room before its bytes come.
        let claimed = LONGEST - 1;
        let bytes = [&claimed.to_be_bytes()[..], &[9, 1, 2]].concat();
        assert!(matches!(read_frame(&mut &bytes[..]), Err(FrameError::Io(_))));
    }
}
