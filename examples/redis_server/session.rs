//! One connection: all commands that have come are carried out together, and answered in order.

use std::io::{self, Read, Write};
use std::sync::Arc;

use quorate::Cluster;
use quorate::storage::MemoryStorage;

use crate::batch::Batch;
use crate::counter::Tallies;
use crate::nodes::Nodes;
use crate::resp::{Command, Reply, parse};

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) cluster: Arc<Cluster<MemoryStorage>>,
    pub(crate) tallies: Tallies,
}

pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) nodes: Nodes<MemoryStorage>,
}

impl Session {
    /// Bytes that are kept of commands that have not been carried out.
    const KEPT: usize = 64 << 20;
    /// Commands that are carried out together at the most.
    const TOGETHER: usize = 1_024;

    /// Answers until the client hangs up, says QUIT, or sends what can't be told apart from the next command.
    pub(crate) fn run(&mut self, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
        let (mut kept, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let count = match input.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            kept.extend_from_slice(&chunk[..count]);
            if !self.carry_out(&mut kept, &mut output)? {
                return Ok(());
            }
        }
    }

    /// Takes whole commands off `kept`. False if the connection is to end.
    fn carry_out(&mut self, kept: &mut Vec<u8>, output: &mut impl Write) -> io::Result<bool> {
        let (mut at, mut goes_on) = (0, true);
        let mut batch = Batch::default();
        while goes_on {
            match parse(&kept[at..]) {
                Ok(Some(Command { words, length })) => {
                    at += length;
                    goes_on = self.take(&mut batch, words);
                }
                Ok(None) if kept.len() - at < Self::KEPT => break,
                Ok(None) => {
                    batch.ready(Reply::Error("ERR a command of more bytes than are kept".into()));
                    goes_on = false;
                }
                Err(error) => {
                    batch.ready(Reply::Error(format!("ERR {error}")));
                    goes_on = false;
                }
            }
            if batch.len() >= Self::TOGETHER {
                output.write_all(&batch.answer(&mut self.nodes))?;
            }
        }
        kept.drain(..at);
        output.write_all(&batch.answer(&mut self.nodes))?;
        Ok(goes_on)
    }
}
