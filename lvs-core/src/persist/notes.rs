//! What engines read for templates: places of 256 bytes, as many as a limit allows.

use alloc::vec;
use alloc::vec::Vec;

use crate::engine::{DATA_MAX, Engine, EngineKey};

/// The notes of a table of templates; no allocation after construction.
#[derive(Debug)]
pub(super) struct Notes {
    places: Vec<Place>,
    /// The engine of each note.
    engines: Vec<Option<Engine>>,
    /// The first free place among those used before; the next ones stand in the places.
    free: Option<u32>,
    /// The first place never used.
    fresh: u32,
}

/// A length and so many bytes; in a free place the number of the next one, plus 1.
type Place = [u8; DATA_MAX + 1];

/// A note's place, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoteId(u32);

impl NoteId {
    /// A template without a note.
    pub(super) const NONE: NoteId = NoteId(u32::MAX);
}

impl Notes {
    pub(super) fn new(capacity: u32) -> Notes {
        Notes {
            places: vec![[0; DATA_MAX + 1]; capacity as usize],
            engines: vec![None; capacity as usize],
            free: None,
            fresh: 0,
        }
    }

    /// Bytes that so many notes take.
    pub(super) const fn memory(capacity: u32) -> usize {
        capacity as usize * (size_of::<Place>() + size_of::<Option<Engine>>())
    }

    /// Whether there is room for another.
    pub(super) fn has_room(&self) -> bool {
        self.free.is_some() || (self.fresh as usize) < self.places.len()
    }

    /// Keeps a note, if there is room.
    pub(super) fn keep(&mut self, key: EngineKey<'_>) -> Option<NoteId> {
        let at = match self.free {
            Some(at) => {
                let place = &self.places[at as usize];
                let next = u32::from_le_bytes([place[0], place[1], place[2], place[3]]);
                self.free = next.checked_sub(1);
                at
            }
            None if (self.fresh as usize) < self.places.len() => {
                self.fresh += 1;
                self.fresh - 1
            }
            None => return None,
        };
        let data = key.data();
        let place = &mut self.places[at as usize];
        place[0] = data.len() as u8;
        place[1..=data.len()].copy_from_slice(data);
        self.engines[at as usize] = Some(key.engine());
        Some(NoteId(at))
    }

    /// A note; `None` for a template without one.
    pub(super) fn get(&self, id: NoteId) -> Option<EngineKey<'_>> {
        let engine = (*self.engines.get(id.0 as usize)?)?;
        let place = self.places.get(id.0 as usize)?;
        EngineKey::new(engine, place.get(1..=usize::from(place[0]))?)
    }

    /// Gives a note's place free.
    pub(super) fn discard(&mut self, id: NoteId) {
        let Some(engine) = self.engines.get_mut(id.0 as usize) else { return };
        if engine.take().is_some() {
            let next = self.free.map_or(0, |free| free + 1);
            self.places[id.0 as usize][..4].copy_from_slice(&next.to_le_bytes());
            self.free = Some(id.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn key(data: &[u8]) -> EngineKey<'_> {
        EngineKey::new(Engine::Sip, data).unwrap()
    }

    #[test]
    fn places_are_used_again_and_no_more_than_there_are() {
        let mut notes = Notes::new(3);
        let ids: Vec<NoteId> = [b"a", b"b", b"c"].map(|data| notes.keep(key(data)).unwrap()).into();
        assert!(!notes.has_room() && notes.keep(key(b"d")).is_none());
        notes.discard(ids[1]);
        notes.discard(ids[0]);
        notes.discard(ids[0]);
        assert!(notes.get(ids[0]).is_none());
        let long = [7; DATA_MAX];
        let again = [notes.keep(key(&long)).unwrap(), notes.keep(key(b"e")).unwrap()];
        assert!(notes.keep(key(b"f")).is_none());
        assert_eq!(notes.get(again[0]).unwrap().data(), long);
        assert_eq!(notes.get(again[1]).unwrap().data(), b"e");
        assert_eq!(notes.get(ids[2]).unwrap().data(), b"c");
        assert!(notes.get(NoteId::NONE).is_none());
    }
}
