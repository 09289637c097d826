//! Hash chains over numbered rows: which rows are there is the table's business, what is equal the caller's. Every step
//! costs the same however many rows there are, and nothing is moved when a row comes or goes.

/// No row.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Index {
    heads: Vec<u32>,
    next: Vec<u32>,
    prev: Vec<u32>,
}

impl Index {
    pub(crate) fn new(rows: u32) -> Self {
        let rows = rows as usize;
        Self {
            // Twice as many as rows: most searches end with the first one.
            heads: vec![NONE; 2 * rows.next_power_of_two().max(1)],
            next: vec![NONE; rows],
            prev: vec![NONE; rows],
        }
    }

    #[inline]
    fn head(&self, hash: u64) -> usize {
        hash as usize & (self.heads.len() - 1)
    }

    /// The first row that a search looks at, or [`NONE`].
    #[inline]
    pub(crate) fn first(&self, hash: u64) -> u32 {
        self.heads[self.head(hash)]
    }

    /// The newest row of this hash that is the one wanted.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut row = self.first(hash);
        while row != NONE {
            if is_it(row) {
                return Some(row);
            }
            row = self.next[row as usize];
        }
        None
    }

    /// The row is in no chain of this index.
    pub(crate) fn insert(&mut self, hash: u64, row: u32) {
        let head = self.head(hash);
        let first = std::mem::replace(&mut self.heads[head], row);
        self.next[row as usize] = first;
        self.prev[row as usize] = NONE;
        if first != NONE {
            self.prev[first as usize] = row;
        }
    }

    /// The row is in the chain of this hash.
    pub(crate) fn remove(&mut self, hash: u64, row: u32) {
        let (next, prev) = (self.next[row as usize], self.prev[row as usize]);
        if prev == NONE {
            let head = self.head(hash);
            self.heads[head] = next;
        } else {
            self.next[prev as usize] = next;
        }
        if next != NONE {
            self.prev[next as usize] = prev;
        }
    }
}

/// Rows of a fixed number.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    rows: Vec<Option<T>>,
    free: Vec<u32>,
    max: u32,
}

impl<T> Rows<T> {
    pub(crate) fn new(max: u32) -> Self {
        Self { rows: Vec::with_capacity(max as usize), free: Vec::with_capacity(max as usize), max }
    }

    /// For values that nothing but the control plane makes.
    pub(crate) const fn growing() -> Self {
        Self { rows: Vec::new(), free: Vec::new(), max: NONE }
    }

    pub(crate) const fn has_room(&self) -> bool {
        !self.free.is_empty() || self.rows.len() < self.max as usize
    }

    /// `None` without room.
    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        if let Some(row) = self.free.pop() {
            self.rows[row as usize] = Some(value);
            return Some(row);
        }
        let row = self.rows.len() as u32;
        (row < self.max).then(|| {
            self.rows.push(Some(value));
            row
        })
    }

    pub(crate) fn remove(&mut self, row: u32) -> Option<T> {
        let value = self.rows.get_mut(row as usize)?.take()?;
        self.free.push(row);
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, row: u32) -> Option<&T> {
        self.rows.get(row as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, row: u32) -> Option<&mut T> {
        self.rows.get_mut(row as usize)?.as_mut()
    }

    pub(crate) const fn len(&self) -> u32 {
        (self.rows.len() - self.free.len()) as u32
    }

    /// Rows that have ever been used.
    pub(crate) const fn used(&self) -> u32 {
        self.rows.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_chain_go_from_its_middle_and_ends() {
        for gone in [0, 1, 2] {
            let mut index = Index::new(3);
            (0..3).for_each(|row| index.insert(7, row));
            index.remove(7, gone);
            for row in 0..3 {
                assert_eq!(index.find(7, |r| r == row).is_some(), row != gone);
            }
            index.insert(7, gone);
            assert_eq!(index.find(7, |_| true), Some(gone), "the newest first");
        }
    }

    #[test]
    fn rows_are_bounded_and_used_again() {
        let mut rows = Rows::new(2);
        let (a, b) = (rows.insert('a').expect("room"), rows.insert('b').expect("room"));
        assert_eq!((rows.insert('c'), rows.has_room(), rows.len()), (None, false, 2));
        assert_eq!((rows.remove(a), rows.remove(a)), (Some('a'), None));
        assert_eq!((rows.get(a), rows.get(b), rows.has_room()), (None, Some(&'b'), true));
        assert_eq!((rows.insert('d'), rows.used()), (Some(a), 2));
    }
}
