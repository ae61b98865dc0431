use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A map that packets change.
pub struct Entries<K, T>(Mutex<BTreeMap<K, T>>);

impl<K, T> Default for Entries<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, T> Entries<K, T> {
    /// The entries, for nobody else meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<K, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Ord, T: Clone> Entries<K, T> {
    /// A copy of the entries.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<K, T> {
        self.lock().clone()
    }
}

impl<K: Clone + Ord, T: Clone> Clone for Entries<K, T> {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.entries()))
    }
}

impl<K: Clone + Ord, T: Clone + PartialEq> PartialEq for Entries<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}

impl<K: Clone + Ord, T: Clone + Eq> Eq for Entries<K, T> {}

impl<K: Clone + Ord + fmt::Debug, T: Clone + fmt::Debug> fmt::Debug for Entries<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().fmt(f)
    }
}
