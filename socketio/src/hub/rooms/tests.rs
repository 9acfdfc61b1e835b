use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn reached(rooms: &Rooms<usize>, to: &[&str], except: &[&str], except_socket: Option<Sid>) -> Vec<usize> {
    let names = |names: &[&str]| names.iter().map(Room::from).collect();
    let target = Target { rooms: names(to), except: names(except), except_socket };
    let mut reached = Vec::new();
    rooms.each(&target, |_, &socket| reached.push(socket));
    reached.sort_unstable();
    reached
}

#[test]
fn every_socket_is_in_the_room_of_its_own_id() {
    let mut rooms = Rooms::default();
    let (a, b) = (Sid::random(), Sid::random());
    let slot = rooms.insert(a, 1);
    let other = rooms.insert(b, 2);
    assert_eq!(reached(&rooms, &[a.as_str()], &[], None), [1]);
    // Other sockets may join the room; its owner still receives a broadcast only once.
    assert!(rooms.join(other, &Room::from(a.as_str()), 9));
    assert_eq!(reached(&rooms, &[a.as_str()], &[], None), [1, 2]);
    assert_eq!(reached(&rooms, &[], &[a.as_str()], None), [0; 0]);
    rooms.leave(slot, a.as_str());
    assert_eq!(reached(&rooms, &[a.as_str()], &[], None), [2]);
    assert!(rooms.join(slot, &Room::from(a.as_str()), 0));
    assert_eq!(rooms.rooms_of(slot), [Room::from(a.as_str())]);
}

#[test]
fn rooms_of_a_socket_are_limited_exactly() {
    let mut rooms = Rooms::default();
    let slot = rooms.insert(Sid::random(), 1);
    assert!(rooms.join(slot, &"a".into(), 2));
    assert!(rooms.join(slot, &"b".into(), 2));
    assert!(!rooms.join(slot, &"c".into(), 2));
    assert!(rooms.join(slot, &"a".into(), 2));
    assert_eq!(reached(&rooms, &["c"], &[], None), [0; 0]);
}

#[test]
fn nothing_stays_behind() {
    let mut rooms = Rooms::default();
    for round in 0..3 {
        let slot = rooms.insert(Sid::random(), round);
        rooms.join(slot, &"a".into(), 9);
        assert_eq!(rooms.remove(slot).len(), 2);
        assert!(rooms.remove(slot).is_empty());
    }
    assert_eq!((rooms.sockets.end(), rooms.members.end()), (0, 0));
    assert_eq!((rooms.names.len(), rooms.ids.len()), (0, 0));
}

#[test]
fn the_places_of_many_come_back() {
    let mut rooms = Rooms::default();
    let slots: Vec<Slot> = (0..5000).map(|n| rooms.insert(Sid::random(), n)).collect();
    for &slot in &slots {
        rooms.join(slot, &"all".into(), 9);
        rooms.join(slot, &slot.to_string().into(), 9);
        rooms.join(slots[0], &format!("{slot} too").into(), 9999);
    }
    for &slot in &slots {
        rooms.leave(slots[0], &format!("{slot} too"));
    }
    for &slot in &slots[1..] {
        rooms.remove(slot);
    }
    assert_eq!(reached(&rooms, &["all"], &[], None), [0]);
    let Rooms { ids, names, members, sockets, .. } = &rooms;
    let lists = [
        members.get(names["all"]).unwrap().list.capacity(),
        sockets.get(slots[0]).unwrap().joined.capacity(),
    ];
    assert!([ids.capacity(), names.capacity()].iter().chain(&lists).all(|&capacity| capacity <= 16));
}

#[test]
fn a_membership_is_small() {
    assert_eq!(size_of::<Member>() + size_of::<RoomEntry>(), 16);
}

#[derive(Debug, Clone)]
enum Step {
    Insert,
    Remove(usize),
    Join(usize, u8),
    Leave(usize, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            2 => Just(Step::Insert),
            1 => (0..20_usize).prop_map(Step::Remove),
            6 => (0..20_usize, 0..6_u8).prop_map(|(socket, room)| Step::Join(socket, room)),
            3 => (0..20_usize, 0..6_u8).prop_map(|(socket, room)| Step::Leave(socket, room)),
        ],
        0..80,
    )
}

proptest! {
    /// Compares the rooms with a model that consists of a map of sets.
    #[test]
    fn agrees_with_a_naive_model(steps in steps(), to: Vec<u8>, except: Vec<u8>) {
        let name = |room: u8| format!("room {}", room % 6);
        let mut rooms = Rooms::default();
        let mut slots: Vec<Option<Slot>> = Vec::new();
        let mut model: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert => {
                    slots.push(Some(rooms.insert(Sid::random(), slots.len())));
                    model.insert(slots.len() - 1, BTreeSet::new());
                }
                Step::Remove(socket) => {
                    if let Some(slot) = slots.get_mut(socket).and_then(Option::take) {
                        prop_assert_eq!(rooms.remove(slot).len(), model[&socket].len() + 1);
                        model.remove(&socket);
                    }
                }
                Step::Join(socket, room) => {
                    if let Some(&Some(slot)) = slots.get(socket) {
                        prop_assert!(rooms.join(slot, &name(room).into(), 100));
                        model.get_mut(&socket).unwrap().insert(name(room));
                    }
                }
                Step::Leave(socket, room) => {
                    if let Some(&Some(slot)) = slots.get(socket) {
                        rooms.leave(slot, &name(room));
                        model.get_mut(&socket).unwrap().remove(&name(room));
                    }
                }
            }
        }
        let to: Vec<String> = to.into_iter().map(name).collect();
        let except: Vec<String> = except.into_iter().map(name).collect();
        let expected: Vec<usize> = model
            .iter()
            .filter(|(_, joined)| to.is_empty() || to.iter().any(|room| joined.contains(room)))
            .filter(|(_, joined)| !except.iter().any(|room| joined.contains(room)))
            .map(|(&socket, _)| socket)
            .collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let except: Vec<&str> = except.iter().map(String::as_str).collect();
        prop_assert_eq!(reached(&rooms, &to, &except, None), expected);
        prop_assert_eq!(rooms.len(), model.len());
    }
}
