//! Lists of acts: the chains of each month, merged by time.

use domain::trail::CHAINS;
use domain::{DAY_MILLIS, TenantId, Timestamp};
use futures_util::future::try_join_all;

use crate::table::page::Position;
use crate::table::range::Range;
use crate::trail::act_item::{Act, act_sk, acts_pk, decode_act, month};
use crate::{Page, PageRequest, Store, StoreError};

/// The name of the list in cursors.
const LIST: &str = "acts";
/// The most acts that one request reads before it answers with what it found.
const READ_MAX: usize = 2_000;
/// The acts that are read of each chain at a time.
const CHUNK: u32 = 100;

/// The acts to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActFilter {
    /// From this time on.
    pub from: Timestamp,
    /// Until this time, included.
    pub until: Timestamp,
    /// Of this person or, with `policy`, of policies.
    pub by: Option<String>,
    /// Of this operation.
    pub what: Option<String>,
    /// Of this connection.
    pub connection: Option<String>,
}

impl ActFilter {
    /// All acts within these times, both included.
    #[must_use]
    pub fn between(from: Timestamp, until: Timestamp) -> Self {
        Self {
            from,
            until,
            by: None,
            what: None,
            connection: None,
        }
    }

    fn takes(&self, act: &Act) -> bool {
        let is = |name, wanted: &Option<String>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| act.text(name) == Some(wanted))
        };
        is("by", &self.by) && is("what", &self.what) && is("connection", &self.connection)
    }
}

/// A position among the acts of all chains: by time, then chain, then number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Read {
    millis: i64,
    chain: u8,
    number: u64,
}

impl Read {
    fn of(act: &Act) -> Self {
        Self {
            millis: act.millis,
            chain: act.place.chain,
            number: act.place.number,
        }
    }

    /// Returns the month in which what follows this position begins.
    fn month(self) -> String {
        month(Timestamp::from_millis(match self.chain {
            CHAINS => self.millis.saturating_add(1),
            _ => self.millis,
        }))
    }

    /// Returns the first sort key of a chain that comes after this position.
    fn first_after(self, chain: u8) -> String {
        let at = Timestamp::from_millis(self.millis);
        let number = match chain.cmp(&self.chain) {
            std::cmp::Ordering::Less => return act_sk(at.plus_millis(1), 0),
            std::cmp::Ordering::Equal => self.number + 1,
            std::cmp::Ordering::Greater => 0,
        };
        act_sk(at, number)
    }
}

impl Store {
    /// Lists the acts of a tenant by time, oldest first. A page is full unless the list ends or
    /// 2,000 acts were read for it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_acts(
        &self,
        tenant: &TenantId,
        filter: &ActFilter,
        now: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Act>, StoreError> {
        let until = filter.until.min(now);
        let mut position = match page.position(LIST)? {
            Some(position) => parse(position).ok_or(StoreError::InvalidCursor)?,
            None => self.beginning(tenant, filter, now).await?,
        };
        let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let mut read = 0;
        while position.millis <= until.as_millis() {
            let acts = self.acts_after(tenant, position, until).await?;
            let Some(last) = acts.last().map(Read::of) else {
                position = next_month(position);
                continue;
            };
            read += acts.len();
            for act in acts {
                let here = Read::of(&act);
                if filter.takes(&act) {
                    found.push(act);
                }
                if found.len() >= limit {
                    return end(found, here);
                }
            }
            position = last;
            if read >= READ_MAX {
                return end(found, last);
            }
        }
        Ok(Page {
            items: found,
            next_cursor: None,
        })
    }

    /// Returns the position before the first act that can be there.
    async fn beginning(
        &self,
        tenant: &TenantId,
        filter: &ActFilter,
        now: Timestamp,
    ) -> Result<Read, StoreError> {
        let kept = self.retention.acts_since(now);
        let exports = self.load_export(tenant).await?;
        let began = exports.map_or(kept, |exports| exports.began());
        let from = filter.from.max(kept).max(began);
        Ok(Read {
            millis: from.as_millis().saturating_sub(1).max(0),
            chain: CHAINS,
            number: 0,
        })
    }

    /// Returns acts of the month of a position: those that follow it, without a gap. Empty if there
    /// is no further act in that month.
    async fn acts_after(
        &self,
        tenant: &TenantId,
        position: Read,
        until: Timestamp,
    ) -> Result<Vec<Act>, StoreError> {
        let month = position.month();
        let last = act_sk(until, 999_999_999_999);
        let chains = (0..CHAINS).map(|chain| {
            let first = position.first_after(chain);
            let pk = acts_pk(tenant, &month, chain);
            let range = (first <= last).then(|| Range::between(pk, &first, &last));
            async move {
                match range {
                    Some(range) => self.slice(&range, CHUNK).await.map(Some),
                    None => Ok(None),
                }
            }
        });
        let slices = try_join_all(chains).await?;
        let mut acts = Vec::new();
        // Behind the end of a chain that was not read whole, others' acts could precede its own.
        let mut whole_until: Option<Read> = None;
        for slice in slices.into_iter().flatten() {
            let more = slice.more;
            let chunk: Vec<Act> = slice
                .items
                .into_iter()
                .map(decode_act)
                .collect::<Result<_, _>>()?;
            if let (true, Some(last)) = (more, chunk.last().map(Read::of)) {
                whole_until = Some(whole_until.map_or(last, |known| known.min(last)));
            }
            acts.extend(chunk);
        }
        acts.sort_by_key(Read::of);
        if let Some(whole_until) = whole_until {
            acts.retain(|act| Read::of(act) <= whole_until);
        }
        Ok(acts)
    }
}

fn end(items: Vec<Act>, at: Read) -> Result<Page<Act>, StoreError> {
    let after = format!("{}#{}", at.millis, at.number);
    let next_cursor = Some(Position::after(at.chain, after).cursor(LIST)?);
    Ok(Page { items, next_cursor })
}

fn parse(position: Position) -> Option<Read> {
    let after = position.after?;
    let (millis, number) = after.split_once('#')?;
    Some(Read {
        millis: millis.parse().ok().filter(|millis| *millis >= 0)?,
        chain: position.part.min(CHAINS),
        number: number.parse().ok().filter(|number| *number < u64::MAX)?,
    })
}

/// Returns the position before the first act of the next month.
fn next_month(position: Read) -> Read {
    let this = position.month();
    let mut at = position.millis.saturating_add(1);
    while month(Timestamp::from_millis(at)) == this {
        at = (at.div_euclid(DAY_MILLIS) + 1) * DAY_MILLIS;
    }
    Read {
        millis: at - 1,
        chain: CHAINS,
        number: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        Timestamp::parse_rfc3339(text).unwrap().as_millis()
    }

    #[test]
    fn the_next_month_begins_at_its_first_millisecond() {
        for (from, next) in [
            ("2026-11-30T23:59:59.999Z", "2026-12-01T00:00:00.000Z"),
            ("2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
            ("2028-02-29T12:00:00.000Z", "2028-03-01T00:00:00.000Z"),
        ] {
            let position = Read {
                millis: at(from),
                chain: 3,
                number: 7,
            };
            assert_eq!(next_month(position).millis + 1, at(next), "{from}");
            let before = Read {
                millis: at(from) - 1,
                chain: CHAINS,
                number: 0,
            };
            assert_eq!(next_month(before).millis + 1, at(next), "{from}");
        }
    }

    #[test]
    fn a_position_is_followed_by_later_chains_of_the_same_time() {
        let position = Read {
            millis: 5,
            chain: 3,
            number: 7,
        };
        let key = |millis, number| act_sk(Timestamp::from_millis(millis), number);
        assert_eq!(position.first_after(2), key(6, 0));
        assert_eq!(position.first_after(3), key(5, 8));
        assert_eq!(position.first_after(4), key(5, 0));
    }
}
