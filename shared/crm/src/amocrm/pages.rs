//! Where rows stand in the list of all rows.

use std::collections::BTreeMap;

/// Positions of rows in the list of all rows, in the order of ids. Only pages that were read are known.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Page numbers by the first id on the page.
    firsts: BTreeMap<u64, u32>,
    /// The first page that was empty.
    end: Option<u32>,
}

impl Pages {
    /// The page on which an id may stand. Pages count from 1.
    pub fn guess(&self, id: u64) -> u32 {
        let below = self.firsts.range(..=id).next_back().map_or(1, |(_, page)| *page);
        let above = self.firsts.range(id + 1..).next().map(|(_, page)| *page);
        match above.or(self.end) {
            Some(above) => below + above.saturating_sub(below + 1).div_ceil(2),
            None if self.firsts.is_empty() => 1,
            None => below.saturating_mul(2),
        }
    }

    pub fn learn(&mut self, page: u32, first: Option<u64>) {
        match first {
            // Deletions move the rows, so earlier knowledge of this page is out of date.
            Some(first) => {
                self.firsts.retain(|_, known| *known != page);
                self.firsts.insert(first, page);
                self.end = self.end.filter(|end| *end > page);
            }
            None => self.end = Some(self.end.map_or(page, |end| end.min(page))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;

    /// Reads pages until the page of an id is found. Returns the number of calls.
    fn search(pages: &mut Pages, id: u64, account: u64) -> u32 {
        for calls in 1..40 {
            let page = pages.guess(id);
            let first = u64::from(page - 1) * 250 + 1;
            pages.learn(page, (first <= account).then_some(first));
            if (first..first + 250).contains(&id) {
                return calls;
            }
        }
        panic!("the page of {id} is not found");
    }

    #[test]
    fn a_page_is_found_in_few_calls_and_its_neighbours_in_fewer() {
        let mut pages = Pages::default();
        assert!(search(&mut pages, 70_001, 100_000) <= 20);
        assert!(search(&mut pages, 70_240, 100_000) <= 1);
        assert!(search(&mut pages, 70_500, 100_000) <= 2);
    }
}
