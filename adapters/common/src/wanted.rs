//! The channels that a server wants to be subscribed to.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The wanted channels, with their namespaces. The task that subscribes compares them with its subscriptions
/// after each change and each new connection.
#[derive(Debug)]
pub struct Wanted<C> {
    channels: Mutex<Channels<C>>,
    /// Notified after each change.
    pub changed: Notify,
}

#[derive(Debug)]
struct Channels<C> {
    all: HashMap<C, Subscription>,
    /// The channels that were changed since the connection was last compared with `all`.
    changed: HashSet<C>,
    /// The number of changes.
    generation: u64,
}

/// The namespaces that use a channel. Usually there is one, but with some brokers the channel of the room `b`
/// of the namespace `/a` is also that of the namespace `/a#b`.
pub type Subscription = Vec<User>;

/// A user of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The path of the namespace.
    pub namespace: Arc<str>,
    /// The reason for which the channel is wanted.
    pub kind: UserKind,
}

/// The reason for which a channel is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserKind {
    /// The number of namespaces with the same path. A child namespace may be created again before the former
    /// one is dropped.
    Namespaces(usize),
    /// A room of the namespace has sockets.
    Room,
}

impl<C> Default for Wanted<C> {
    fn default() -> Self {
        let channels = Channels { all: HashMap::new(), changed: HashSet::new(), generation: 0 };
        Self { channels: Mutex::new(channels), changed: Notify::new() }
    }
}

impl<C: Clone + Eq + Hash> Wanted<C> {
    /// Adds the channels of a namespace.
    pub fn add(&self, namespace: &str, channels: Vec<C>) {
        let namespace: Arc<str> = namespace.into();
        for channel in channels {
            self.change(&channel, |users| match namespaces(users, &namespace) {
                Some((_, references)) => *references += 1,
                None => {
                    users.push(User { namespace: namespace.clone(), kind: UserKind::Namespaces(1) });
                }
            });
        }
    }

    /// Removes the channels of a namespace. Returns `true` if no other namespace has the same path.
    pub fn remove(&self, namespace: &str, channels: Vec<C>) -> bool {
        let mut is_last = true;
        for channel in channels {
            self.change(&channel, |users| match namespaces(users, namespace) {
                Some((at, 1)) => drop(users.swap_remove(at)),
                Some((_, references)) => {
                    *references -= 1;
                    is_last = false;
                }
                None => {}
            });
        }
        is_last
    }

    /// Adds or removes the channel of a room.
    pub fn set(&self, namespace: &str, channel: &C, is_wanted: impl Fn() -> bool) {
        let mut wants = is_wanted();
        loop {
            self.change(channel, |users| {
                users.retain(|user| user.kind != UserKind::Room || *user.namespace != *namespace);
                if wants {
                    users.push(User { namespace: namespace.into(), kind: UserKind::Room });
                }
            });
            // `is_wanted` must not be called under the lock, so another thread may have set an older value.
            let wants_now = is_wanted();
            if wants_now == wants {
                return;
            }
            wants = wants_now;
        }
    }

    /// Returns the generation, and all channels with their users, for a new connection.
    pub fn all(&self) -> (u64, Vec<(C, Subscription)>) {
        let Channels { all, changed, generation } = &mut *self.channels.lock();
        changed.clear();
        (*generation, all.iter().map(|(channel, users)| (channel.clone(), users.clone())).collect())
    }

    /// Returns the generation, and the channels that were changed since the last call of this method or of
    /// [`all`](Self::all), with their users.
    pub fn changes(&self) -> (u64, Vec<(C, Subscription)>) {
        let Channels { all, changed, generation } = &mut *self.channels.lock();
        let users = |channel: &C| all.get(channel).cloned().unwrap_or_default();
        let changes = std::mem::take(changed).into_iter().map(|channel| (users(&channel), channel));
        (*generation, changes.map(|(users, channel)| (channel, users)).collect())
    }

    fn change(&self, channel: &C, change: impl FnOnce(&mut Subscription)) {
        let mut channels = self.channels.lock();
        let users = channels.all.entry(channel.clone()).or_default();
        change(users);
        if users.is_empty() {
            channels.all.remove(channel);
        }
        channels.changed.insert(channel.clone());
        channels.generation += 1;
        drop(channels);
        self.changed.notify_one();
    }

    /// Returns the channel with the next changes.
    pub fn compare_again(&self, channel: C) {
        self.channels.lock().changed.insert(channel);
    }

    /// Returns `true` if a channel is wanted.
    pub fn contains(&self, channel: &C) -> bool {
        self.channels.lock().all.contains_key(channel)
    }

    /// Returns the number of changes of the set.
    pub fn generation(&self) -> u64 {
        self.channels.lock().generation
    }

    /// Returns the namespaces that have channels, without repetition.
    pub fn namespaces(&self) -> Vec<Arc<str>> {
        let channels = self.channels.lock();
        let users = channels.all.values().flatten().filter(|user| user.kind != UserKind::Room);
        let mut namespaces: Vec<_> = users.map(|user| user.namespace.clone()).collect();
        drop(channels);
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces
    }
}

/// Returns the index of the user that stands for namespaces of this path, and their number.
fn namespaces<'a>(users: &'a mut [User], path: &str) -> Option<(usize, &'a mut usize)> {
    users.iter_mut().enumerate().find_map(|(at, user)| match &mut user.kind {
        UserKind::Namespaces(references) if *user.namespace == *path => Some((at, references)),
        _ => None,
    })
}
