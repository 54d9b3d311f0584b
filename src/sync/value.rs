//! Values that are read and replaced as a whole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Mutex, Rank, order};

/// A value that readers share and writers replace: nobody sees a partial change or waits for a
/// reader.
pub struct Snapshot<T> {
    now: RwLock<Arc<T>>,
    version: AtomicUsize,
}

impl<T> Snapshot<T> {
    pub fn new(value: T) -> Snapshot<T> {
        Snapshot { now: RwLock::new(Arc::new(value)), version: AtomicUsize::new(0) }
    }

    /// Returns the present value, which does not change for its holder.
    pub fn get(&self) -> Arc<T> {
        let _held = held();
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value. Returns the previous one.
    pub fn set(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        let _held = held();
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *now, value);
        self.version.fetch_add(1, Ordering::Release);
        old
    }

    /// Returns a number that differs after each `set`. A reader that asks for it before `get` may
    /// keep what it derives from the value for as long as the number is the same. Threads that
    /// read it do not contend with each other, unlike threads that call `get`.
    pub fn version(&self) -> usize {
        self.version.load(Ordering::Acquire)
    }
}

fn held() -> order::Held {
    #[cfg(debug_assertions)]
    return order::take(Rank::Snapshot);
    #[cfg(not(debug_assertions))]
    order::Held
}

/// A value that is in force once it is on disk. Changes are made and saved one at a time; until
/// then, and if saving fails, readers see the old value.
pub struct Persisted<T, E> {
    now: Snapshot<T>,
    turn: Mutex<()>,
    save: Save<T, E>,
}

type Save<T, E> = Box<dyn Fn(&T) -> Result<(), E> + Send + Sync>;

impl<T: Clone + PartialEq, E> Persisted<T, E> {
    /// Creates it with the value on disk and the function that saves another one.
    pub fn new(value: T, save: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static) -> Self {
        let (now, turn) = (Snapshot::new(value), Mutex::new(Rank::Decision, ()));
        Persisted { now, turn, save: Box::new(save) }
    }

    pub fn get(&self) -> Arc<T> {
        self.now.get()
    }

    /// Changes a copy, saves it if it differs, and puts it in force. Returns the result of
    /// `change`.
    ///
    /// # Errors
    /// It cannot be saved: the value is what it was before.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, E> {
        let _turn = self.turn.lock();
        let old = self.now.get();
        let mut new = T::clone(&old);
        let result = change(&mut new);
        if new != *old {
            (self.save)(&new)?;
            self.now.set(new);
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_snapshot_stays_for_whoever_has_it() {
        let value = Snapshot::new(1);
        let before = value.get();
        let version = value.version();
        assert_eq!(value.version(), version);
        assert_eq!(*value.set(2), 1);
        assert_eq!((*before, *value.get()), (1, 2));
        assert_ne!(value.version(), version, "what is derived from the value is out of date");
    }

    #[test]
    fn a_value_holds_once_it_is_saved_and_readers_do_not_wait_for_it() {
        let (saving, begun) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel();
        let gone_on = Mutex::new(Rank::Stop, gone_on);
        let value = Persisted::new(1, move |_: &i32| {
            saving.send(()).unwrap();
            gone_on.lock().recv_timeout(Duration::from_secs(60)).map_err(|_| "no disk")
        });
        thread::scope(|scope| {
            let changed = scope.spawn(|| value.change(|value| *value = 2));
            begun.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!(*value.get(), 1, "it is not on disk yet");
            go_on.send(()).unwrap();
            changed.join().unwrap().unwrap();
        });
        assert_eq!(*value.get(), 2);
        drop(go_on);
        assert_eq!(value.change(|value| *value = 3), Err("no disk"));
        assert_eq!(*value.get(), 2, "what cannot be saved does not hold");
        assert_eq!(value.change(|value| *value), Ok(2), "what is not changed is not saved");
    }
}
