//! The rows of an aggregate that are shown: those for which there was room in the exposition, as
//! there was for the metadata of their family, which a family without rows has too.

use crate::encode::text;
use crate::registry::exposition::ComponentRoom;
use crate::registry::family::FamilyInfo;
use crate::snapshot::labels::{ALLOCATION, LabelTable};

/// The rows that are shown. One that was shown stays.
#[derive(Debug, Default)]
pub(super) struct ShownRows {
    /// The room that was taken: of the metadata, without which no row is shown, and of rows.
    bytes: u64,
    /// `None` if all rows are shown and no row is added, or if none is shown yet.
    each: Option<Box<EachRow>>,
}

/// The rows of which each is shown or not.
#[derive(Debug, Default)]
struct EachRow {
    states: Vec<State>,
    /// The metadata of the family.
    metadata: State,
    /// [`ComponentRoom::returns`] before the first row, or the metadata, was refused since they
    /// were looked at again.
    refused_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Shown,
    /// There was no room for it. It was counted.
    Hidden,
}

impl ShownRows {
    /// Returns `true` if all rows of a table to which none is added have room. They take it once.
    pub(super) fn all(&mut self, family: &FamilyInfo, labels: &LabelTable, room: &mut ComponentRoom) -> bool {
        if self.each.is_some() {
            return false;
        }
        // No metadata is empty.
        self.bytes > 0 || self.show_all(family, labels, room)
    }

    #[cold]
    fn show_all(&mut self, family: &FamilyInfo, labels: &LabelTable, room: &mut ComponentRoom) -> bool {
        let rows = (0..labels.len()).map(|row| text::series_size(family, labels, row));
        let bytes = text::metadata_size(family) + rows.sum::<u64>();
        let has_room = room.take(bytes);
        if has_room {
            self.bytes = bytes;
        }
        has_room
    }

    /// Returns those of the rows that have room, and takes it for new ones. Returns `None` if the
    /// family has none for its metadata.
    ///
    /// Adds the number of rows that have none, and are not counted yet, to `hidden`; the metadata
    /// counts as a row.
    pub(super) fn select(
        &mut self,
        rows: impl Iterator<Item = u32>,
        family: &FamilyInfo,
        labels: &LabelTable,
        room: &mut ComponentRoom,
        hidden: &mut u64,
    ) -> Option<Vec<u32>> {
        // Room that was returned is for those that have none.
        let Self { bytes, each } = self;
        let each = each.get_or_insert_default();
        let is_retried = each.refused_at.is_some_and(|returns| returns != room.returns());
        if is_retried {
            each.refused_at = None;
        }
        each.states.resize(labels.len(), State::New);
        if *bytes == 0 && !each.show_metadata(is_retried, bytes, family, room, hidden) {
            each.hide(rows, hidden);
            return None;
        }
        let is_shown = |row: &u32| match each.states[*row as usize] {
            State::Shown => true,
            State::Hidden if !is_retried => false,
            _ => each.show(*row as usize, bytes, family, labels, room, hidden),
        };
        Some(rows.filter(is_shown).collect())
    }

    /// Returns the room of all rows if the metadata of a family that replaces the other one does
    /// not fit into what was taken for it. The next snapshot takes it again.
    pub(super) fn replace_family(&mut self, old: &FamilyInfo, new: &FamilyInfo, room: &mut ComponentRoom) {
        if text::metadata_size(new) > text::metadata_size(old) {
            self.remove(room);
        }
    }

    /// Returns the bytes of the states.
    pub(super) fn memory(&self) -> usize {
        let each = |each: &EachRow| size_of::<EachRow>() + ALLOCATION + size_of::<State>() * each.states.capacity();
        self.each.as_deref().map_or(0, each)
    }

    /// Returns the room of all rows.
    pub(super) fn remove(&mut self, room: &mut ComponentRoom) {
        room.give_back(std::mem::take(self).bytes);
    }
}

impl EachRow {
    /// Takes the room of the metadata, and adds it to `taken`. Returns `false` if there is none.
    #[cold]
    fn show_metadata(
        &mut self,
        is_retried: bool,
        taken: &mut u64,
        family: &FamilyInfo,
        room: &mut ComponentRoom,
        hidden: &mut u64,
    ) -> bool {
        if self.metadata == State::Hidden && !is_retried {
            return false;
        }
        let bytes = text::metadata_size(family);
        // Before the room is looked at: what is returned later is looked at again.
        let returns = room.returns();
        let has_room = room.take(bytes);
        if has_room {
            *taken += bytes;
            self.metadata = State::Shown;
        } else {
            *hidden += u64::from(std::mem::replace(&mut self.metadata, State::Hidden) == State::New);
            self.refused_at.get_or_insert(returns);
        }
        has_room
    }

    /// Hides the rows of a family whose metadata has no room.
    #[cold]
    fn hide(&mut self, rows: impl Iterator<Item = u32>, hidden: &mut u64) {
        for row in rows {
            let state = &mut self.states[row as usize];
            *hidden += u64::from(std::mem::replace(state, State::Hidden) == State::New);
        }
    }

    /// Takes the room of a row, and adds it to `taken`. Returns `false` if there is none.
    #[cold]
    fn show(
        &mut self,
        row: usize,
        taken: &mut u64,
        family: &FamilyInfo,
        labels: &LabelTable,
        room: &mut ComponentRoom,
        hidden: &mut u64,
    ) -> bool {
        let bytes = text::series_size(family, labels, row);
        let state = &mut self.states[row];
        let returns = room.returns();
        if room.take(bytes) {
            *taken += bytes;
            *state = State::Shown;
            return true;
        }
        if std::mem::replace(state, State::Hidden) == State::New {
            *hidden += 1;
        }
        self.refused_at.get_or_insert(returns);
        false
    }
}
