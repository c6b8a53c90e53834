//! The grid: rows of panels, from left to right and from top to bottom.

use crate::format::grafana::{GridPosition, Items, Panel, Row};

/// The columns of the grid.
const COLUMNS: u32 = 24;

/// A row, and the panels below it. Their positions have a width and a height only.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: String,
    /// `true` if the panels are shown, and their queries run, when the row is opened.
    pub(super) is_collapsed: bool,
    pub(super) panels: Vec<Panel>,
}

impl Section {
    pub(super) fn new(title: &str, panels: Vec<Panel>) -> Self {
        Self { title: title.to_owned(), is_collapsed: false, panels }
    }

    #[must_use]
    pub(super) fn collapsed(mut self) -> Self {
        self.is_collapsed = true;
        self
    }
}

/// Places all panels, and numbers them.
pub(super) fn place(sections: Vec<Section>) -> Vec<Items> {
    let mut items = Vec::new();
    let mut ids = 1..;
    let mut id = || ids.next().unwrap_or_default();
    let mut top = 0;
    for section in sections {
        let grid_pos = GridPosition { x: 0, y: top, w: COLUMNS, h: 1 };
        let mut row = Row {
            id: id(),
            r#type: "row",
            title: section.title,
            collapsed: section.is_collapsed,
            grid_pos,
            panels: Vec::new(),
        };
        top += 1;
        let (mut x, mut y, mut height) = (0, top, 0);
        let mut placed = Vec::new();
        for mut panel in section.panels {
            let GridPosition { w, h, .. } = panel.grid_pos;
            if x + w > COLUMNS {
                (x, y, height) = (0, y + height, 0);
            }
            panel.id = id();
            panel.grid_pos = GridPosition { x, y, w, h };
            (x, height) = (x + w, height.max(h));
            placed.push(panel);
        }
        if section.is_collapsed {
            row.panels = placed;
            items.push(Items::Row(row));
        } else {
            top = y + height;
            items.push(Items::Row(row));
            items.extend(placed.into_iter().map(|panel| Items::Panel(Box::new(panel))));
        }
    }
    items
}
