//! Numbers that stand for controllers and kids in the names of channels (`bucardo_ctl_12_ping`), where former versions had
//! process numbers. A sync's controller and each of its kids keep theirs for as long as the daemon runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bucardo_actors::board::ActorId;

/// Who has which number; shared by those who listen, tell and show.
#[derive(Clone, Default)]
pub struct Numbers(Arc<Mutex<BTreeMap<ActorId, i32>>>);

impl Numbers {
    /// The number of a controller or kid, which gets one if it has none.
    pub(super) fn of(&self, id: &ActorId) -> i32 {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.get(id) {
            return *number;
        }
        let number = i32::try_from(known.len()).unwrap_or(i32::MAX).saturating_add(1);
        known.insert(id.clone(), number);
        number
    }

    /// Who has this number.
    pub(super) fn find(&self, number: i32) -> Option<ActorId> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(_, own)| **own == number).map(|(id, _)| id.clone())
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeMap<ActorId, i32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
