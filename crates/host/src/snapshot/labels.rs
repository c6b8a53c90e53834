//! The labels of series: keys and values, from which every format makes its own.
//!
//! A table has the labels of one metric in one component. The labels that all series share are
//! stored once, and so is each key and each value:
//!
//! ```text
//! constant   component="shop"
//! columns    queue:  0 "mail", 1 "push"      kind:  0 "a", 1 "b", 2 "c"
//! rows       0: (0, 2)    1: (1, 0)          row 1 is component="shop", queue="push", kind="a"
//! ```

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::Identity;
use crate::encode::text::RenderedLabels;

/// The value of a label whose own value is not kept.
pub(crate) const OVERFLOW: &str = "overflow";

/// Bytes of an allocation beside its contents: the counts of an `Arc`, or the allocator's own.
pub(crate) const ALLOCATION: usize = 16;

/// Bytes of a text's places in a column and in the index of texts.
const TEXT_PLACES: usize = size_of::<Arc<str>>() + 2 * size_of::<(Arc<str>, u32)>();

/// The labels of the series of one metric in one component: a row for each series.
///
/// A row never changes, and rows are only added. A clone is of the same table: rows of one number
/// have the same labels in both.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelTable {
    schema: Arc<Schema>,
    /// The texts of each column that has some, by their ids.
    texts: Vec<Vec<Arc<str>>>,
    /// The bytes of all texts.
    text_bytes: usize,
    rows: Rows,
    /// The rows as the text formats have them.
    pub(crate) rendered: RenderedLabels,
}

/// The part of a table that does not grow.
#[derive(Debug, Default)]
struct Schema {
    /// The labels that all rows share, without empty values. Tables of one component may share
    /// them.
    constant: Arc<[(String, String)]>,
    columns: Vec<Column>,
}

/// The labels that all metrics of one component have: those of its identity.
#[derive(Clone, Debug)]
pub(crate) struct ComponentLabels {
    /// Key and value, without empty values.
    pub(crate) constant: Arc<[(String, String)]>,
    /// The table of every metric without labels of its own. It has one row.
    pub(crate) plain: Arc<LabelTable>,
}

impl ComponentLabels {
    pub(crate) fn new(identity: &Identity) -> Self {
        let labels = Identity::KEYS.into_iter().zip(identity.values()).filter(|(_, value)| !value.is_empty());
        let constant: Arc<_> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { plain: Arc::new(LabelTable::product(Arc::clone(&constant), Vec::new())), constant }
    }
}

/// A label whose value differs between rows.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) key: String,
    pub(crate) values: ColumnValues,
}

/// The values of a column. Each has an id.
#[derive(Debug)]
pub(crate) enum ColumnValues {
    /// These values, by their ids.
    Listed(Arc<[String]>),
    /// The integers below a bound, each its own id, and the bound as the id of `overflow`.
    Below(u32),
    /// Texts that are added.
    Texts,
}

#[derive(Clone, Debug)]
enum Rows {
    /// Every combination of values. The last column's changes fastest.
    Product(usize),
    /// For each row, an id for each column; the number of rows.
    Listed(Vec<u32>, usize),
}

impl Default for Rows {
    fn default() -> Self {
        Self::Product(0)
    }
}

impl ColumnValues {
    fn len(&self) -> usize {
        match self {
            Self::Listed(values) => values.len(),
            Self::Below(bound) => *bound as usize + 1,
            Self::Texts => 0,
        }
    }
}

impl LabelTable {
    /// Creates a table without rows. No constant label is empty, because that is the same as none.
    pub(crate) fn new(constant: Arc<[(String, String)]>, columns: Vec<Column>) -> Self {
        let texts = columns.iter().map(|_| Vec::new()).collect();
        Self::with(constant, columns, texts, Rows::Listed(Vec::new(), 0))
    }

    /// Creates a table of all combinations of values, none of which is a text that is added.
    pub(crate) fn product(constant: Arc<[(String, String)]>, columns: Vec<Column>) -> Self {
        let rows = columns.iter().map(|column| column.values.len()).product();
        Self::with(constant, columns, Vec::new(), Rows::Product(rows))
    }

    fn with(constant: Arc<[(String, String)]>, columns: Vec<Column>, texts: Vec<Vec<Arc<str>>>, rows: Rows) -> Self {
        let schema = Arc::new(Schema { constant, columns });
        Self { schema, texts, text_bytes: 0, rows, rendered: RenderedLabels::default() }
    }

    /// Returns a table with the same keys and without rows.
    pub(crate) fn emptied(&self) -> Self {
        let Schema { constant, columns } = &*self.schema;
        let texts = |column: &Column| Column { key: column.key.clone(), values: ColumnValues::Texts };
        Self::new(constant.clone(), columns.iter().map(texts).collect())
    }

    pub(crate) fn len(&self) -> usize {
        match self.rows {
            Rows::Product(rows) | Rows::Listed(_, rows) => rows,
        }
    }

    /// The labels that all rows share: key and value. No value is empty.
    pub(crate) fn constant(&self) -> &[(String, String)] {
        &self.schema.constant
    }

    /// The keys of the labels whose values differ.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.schema.columns.iter().map(|column| column.key.as_str())
    }

    /// Adds a text to a column, and returns its id.
    pub(crate) fn add_text(&mut self, column: usize, text: Arc<str>) -> u32 {
        self.text_bytes += ALLOCATION + text.len();
        let texts = &mut self.texts[column];
        texts.push(text);
        texts.len() as u32 - 1
    }

    /// Adds a row with these ids, one for each column, and returns its number.
    pub(crate) fn push(&mut self, ids: &[u32]) -> usize {
        let Rows::Listed(all, len) = &mut self.rows else { return 0 };
        all.extend_from_slice(ids);
        *len += 1;
        *len - 1
    }

    /// Returns the approximate bytes of the keys, the texts, and the rows, rendered ones included.
    pub(crate) fn memory(&self) -> usize {
        let ids = match &self.rows {
            Rows::Product(_) => 0,
            Rows::Listed(ids, _) => size_of::<u32>() * ids.capacity(),
        };
        // A text has a place among those of its column, and one or two in the index by texts.
        let texts = self.text_bytes + self.texts.iter().map(|texts| TEXT_PLACES * texts.capacity()).sum::<usize>();
        texts + ids + self.rendered.memory()
    }

    /// Returns the approximate bytes of the part of the table that does not grow.
    pub(crate) fn schema_memory(&self) -> usize {
        let Schema { columns, constant } = &*self.schema;
        let column = |column: &Column| size_of::<Column>() + size_of::<Vec<Arc<str>>>() + ALLOCATION + column.key.len();
        let own = |(key, value): &(String, String)| 2 * (size_of::<String>() + ALLOCATION) + key.len() + value.len();
        // Nearly all tables share the constant labels with others.
        let constant = if Arc::strong_count(constant) > 1 { 0 } else { constant.iter().map(own).sum() };
        size_of::<Self>() + size_of::<Schema>() + 2 * ALLOCATION + columns.iter().map(column).sum::<usize>() + constant
    }

    /// Returns the id of a row's value in a column.
    fn id(&self, row: usize, column: usize) -> u32 {
        match &self.rows {
            Rows::Listed(ids, _) => ids[row * self.schema.columns.len() + column],
            Rows::Product(_) => {
                let later = self.schema.columns[column + 1..].iter().map(|column| column.values.len());
                (row / later.product::<usize>() % self.schema.columns[column].values.len()) as u32
            }
        }
    }

    /// Returns a row's value in a column.
    pub(crate) fn value(&self, row: usize, column: usize) -> Cow<'_, str> {
        let id = self.id(row, column);
        match &self.schema.columns[column].values {
            ColumnValues::Listed(values) => Cow::Borrowed(&values[id as usize]),
            ColumnValues::Below(bound) if id == *bound => Cow::Borrowed(OVERFLOW),
            ColumnValues::Below(_) => Cow::Owned(itoa::Buffer::new().format(id).to_owned()),
            ColumnValues::Texts => Cow::Borrowed(&self.texts[column][id as usize]),
        }
    }

    /// Returns the labels of a row whose values differ between rows, without empty values.
    pub(crate) fn varied(&self, row: usize) -> LabelPairs<'_> {
        LabelPairs { table: self, row, next: self.schema.constant.len() }
    }

    /// Returns the order of two rows in the output: that of their values, label by label. A label
    /// that is absent comes last.
    pub(crate) fn compare(&self, a: usize, b: usize) -> std::cmp::Ordering {
        let differing = (0..self.schema.columns.len()).find(|column| self.id(a, *column) != self.id(b, *column));
        differing.map_or(std::cmp::Ordering::Equal, |column| {
            let (a, b) = (self.value(a, column), self.value(b, column));
            (a.is_empty(), a).cmp(&(b.is_empty(), b))
        })
    }
}

/// The labels of one series. Two are equal if they have the same keys and values in the same order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labels<'a> {
    table: &'a LabelTable,
    row: usize,
}

impl<'a> Labels<'a> {
    pub(crate) fn new(table: &'a LabelTable, row: usize) -> Self {
        Self { table, row }
    }

    /// Returns the keys and values.
    pub(crate) fn pairs(self) -> LabelPairs<'a> {
        LabelPairs { table: self.table, row: self.row, next: 0 }
    }

    /// Returns the bytes of the keys and values, and 4 more for each label.
    pub(crate) fn size(self) -> usize {
        self.pairs().map(|(key, value)| key.len() + value.len() + 4).sum()
    }
}

impl PartialEq for Labels<'_> {
    fn eq(&self, other: &Self) -> bool {
        let is_same_table = Arc::ptr_eq(&self.table.schema, &other.table.schema);
        (is_same_table && self.row == other.row) || self.pairs().eq(other.pairs())
    }
}

impl Eq for Labels<'_> {}

impl Hash for Labels<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pairs().for_each(|pair| pair.hash(state));
    }
}

/// The labels of one series: key and value.
#[derive(Clone, Debug)]
pub struct LabelPairs<'a> {
    table: &'a LabelTable,
    row: usize,
    /// The index of the next label, the constant ones first.
    next: usize,
}

impl<'a> Iterator for LabelPairs<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let Schema { constant, columns } = &*self.table.schema;
        loop {
            let next = self.next;
            self.next += 1;
            if let Some((key, value)) = constant.get(next) {
                return Some((key, Cow::Borrowed(value)));
            }
            let column = next - constant.len();
            let key = &columns.get(column)?.key;
            let value = self.table.value(self.row, column);
            if !value.is_empty() {
                return Some((key, value));
            }
        }
    }
}
