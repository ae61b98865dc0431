//! Changes that do not last.

use std::time::{Duration, SystemTime};

use crate::vnet::Command;

/// Least time between two times that the same commands are executed.
const PAUSE: Duration = Duration::from_secs(1);
/// Commands that are wanted again within this time did not last.
const LASTING: Duration = Duration::from_secs(15);

/// Keeps the agent from executing the same commands over and over, as fast as events come: when
/// another program takes away what they make, or when the kernel makes something else of them.
#[derive(Default, Debug)]
pub(super) struct Repetition {
    last: Vec<Command>,
    at: Option<SystemTime>,
    is_put_off: bool,
}

/// What is to be done with commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Advice {
    /// Execute them.
    Execute,
    /// Execute them, and say that they did not last.
    ExecuteAgain,
    /// Do nothing for now.
    PutOff,
}

impl Repetition {
    /// Advises on the commands that are wanted now.
    pub(super) fn advise(&mut self, commands: &[Command], now: SystemTime) -> Advice {
        self.is_put_off = false;
        if commands.is_empty() {
            return Advice::Execute;
        }
        let age = self.at.and_then(|at| now.duration_since(at).ok());
        let advice = match age {
            Some(age) if self.last == commands && age < PAUSE => {
                self.is_put_off = true;
                return Advice::PutOff;
            }
            Some(age) if self.last == commands && age < LASTING => Advice::ExecuteAgain,
            Some(_) | None => Advice::Execute,
        };
        self.last = commands.to_vec();
        self.at = Some(now);
        advice
    }

    /// Whether commands wait to be executed.
    pub(super) const fn is_put_off(&self) -> bool {
        self.is_put_off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(device: &str) -> Vec<Command> {
        vec![Command::SetUp(device.to_owned())]
    }

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + milliseconds)
    }

    #[test]
    fn the_same_commands_are_executed_once_a_second_and_others_at_once() {
        let mut repetition = Repetition::default();
        assert_eq!(repetition.advise(&up("a"), at(0)), Advice::Execute);
        assert_eq!(repetition.advise(&[], at(10)), Advice::Execute);
        assert_eq!(repetition.advise(&up("a"), at(30)), Advice::PutOff);
        assert!(repetition.is_put_off());
        assert_eq!(repetition.advise(&up("a"), at(1030)), Advice::ExecuteAgain);
        assert!(!repetition.is_put_off());
        assert_eq!(repetition.advise(&up("b"), at(1040)), Advice::Execute);
    }

    #[test]
    fn what_is_wanted_again_much_later_did_last() {
        let mut repetition = Repetition::default();
        assert_eq!(repetition.advise(&up("a"), at(0)), Advice::Execute);
        assert_eq!(repetition.advise(&up("a"), at(60_000)), Advice::Execute);
    }

    #[test]
    fn a_clock_that_was_set_back_puts_nothing_off() {
        let mut repetition = Repetition::default();
        assert_eq!(repetition.advise(&up("a"), at(60_000)), Advice::Execute);
        assert_eq!(repetition.advise(&up("a"), at(0)), Advice::Execute);
    }
}
