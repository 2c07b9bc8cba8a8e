//! The counts of the batch at hand. Kept by the session's thread alone and added to its meter before the replies leave, so
//! that whoever has a reply finds its request counted.

use crate::export::{Sitter, uptime_ms_at};
use crate::meter::Class;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// See the module.
#[derive(Default)]
pub(crate) struct Tally {
    /// The kind of the request at hand.
    class: Option<Class>,
    /// The time of the request at hand is taken care of: it is counted among the answered, or a worker has it.
    timed: bool,
    /// One bit for each kind that has something to settle.
    touched: u8,
    classes: [Counts; Class::ALL.len()],
}

#[derive(Clone, Copy, Default)]
struct Counts {
    came: u64,
    /// Answered on this thread: their replies leave with this batch.
    answered: u64,
    bytes: u64,
    errors: u64,
}

impl Tally {
    /// A request came.
    pub(crate) fn begin(&mut self, class: Class) {
        (self.class, self.timed) = (Some(class), false);
        self.at_hand().came += 1;
    }

    /// Bytes of the request at hand.
    pub(crate) fn bytes(&mut self, count: u64) {
        self.at_hand().bytes += count;
    }

    /// The request at hand is answered with an error.
    pub(crate) fn error(&mut self) {
        self.at_hand().errors += 1;
    }

    /// The answer to the request at hand is made, and its time ends with this batch. Said once more it changes nothing.
    pub(crate) fn answered(&mut self) {
        if !std::mem::replace(&mut self.timed, true) {
            self.at_hand().answered += 1;
        }
    }

    /// A worker answers the request at hand, perhaps before this batch is settled: so it is counted now.
    pub(crate) fn handed_over(&mut self, sitter: &Sitter, now: Instant) -> Class {
        self.timed = true;
        let class = self.class.unwrap_or(Class::Other);
        // None where it is counted already: this batch was settled while its payload came in.
        if let Some(others) = self.at_hand().came.checked_sub(1) {
            self.at_hand().came = others;
            sitter.meter.came(class, 1);
        }
        sitter.active_ms.store(uptime_ms_at(now), Ordering::Relaxed);
        class
    }

    /// Adds everything to the meter. `arrived`: when the requests of this batch did.
    pub(crate) fn settle(&mut self, sitter: &Sitter, arrived: Instant) {
        if self.touched == 0 {
            return;
        }
        let touched = std::mem::take(&mut self.touched);
        let elapsed = arrived.elapsed();
        sitter.active_ms.store(uptime_ms_at(arrived), Ordering::Relaxed);
        for class in Class::ALL.into_iter().filter(|class| touched & bit(*class) != 0) {
            let Counts { came, answered, bytes, errors } = std::mem::take(&mut self.classes[class as usize]);
            sitter.meter.came(class, came);
            sitter.meter.moved(class, bytes);
            sitter.meter.failed(class, errors);
            if answered > 0 {
                sitter.meter.took(class, answered, elapsed);
            }
        }
    }

    /// The counts of the request at hand.
    fn at_hand(&mut self) -> &mut Counts {
        let class = self.class.unwrap_or(Class::Other);
        self.touched |= bit(class);
        &mut self.classes[class as usize]
    }
}

fn bit(class: Class) -> u8 {
    1 << class as u8
}
