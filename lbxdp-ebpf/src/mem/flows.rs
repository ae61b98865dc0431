use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::abi::FlowKey;

/// A map that packets change.
pub struct Flows<T>(Mutex<BTreeMap<FlowKey, T>>);

impl<T> Default for Flows<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Flows<T> {
    /// The entries, for nobody else meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<FlowKey, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Flows<T> {
    /// A copy of the entries.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<FlowKey, T> {
        self.lock().clone()
    }
}

impl<T: Clone> Clone for Flows<T> {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.entries()))
    }
}

impl<T: Clone + PartialEq> PartialEq for Flows<T> {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}

impl<T: Clone + Eq> Eq for Flows<T> {}

impl<T: Clone + fmt::Debug> fmt::Debug for Flows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().fmt(f)
    }
}
