//! A connection's rate limit, and a tenant's: shared by independent workers.

use domain::content::{ObjectKey, UploadId};
use domain::rate_limit::{
    CallKind, CallOutcome, CircuitBreaker, Cost, Limits, Pause, RateLimit, Slot, SlotKind,
    TenantLimits, TenantRates, ThrottledBy, WritesRefused,
};
use domain::{LogId, Operation, OperationId, Run};

use super::super::support::{file, fresh, ms, nonce};
use super::checks_content::hash;
use crate::{Admission, MultipartUpload, ReadMeter, Store, StoredSlots, Written};

pub(crate) async fn a_rate_limit_is_created_once_and_read_back_equal(store: &Store) {
    let key = fresh();
    let limits = Limits::default();
    assert_eq!(store.load_rate_limit(&key).await.unwrap(), None);
    let limit = RateLimit {
        breaker: CircuitBreaker::HalfOpen { until: ms(70_000) },
        blocked_until: ms(90_000),
        writes_breaker: CircuitBreaker::Open { until: ms(80_000) },
        writes_refused: Some(WritesRefused {
            since: ms(7),
            status: Some(503),
            subject: 9,
        }),
        uploads: Pause {
            until: ms(60_000),
            times: 2,
        },
        ..RateLimit::new(&limits, ms(5))
    };
    let Written::Done(first) = store
        .save_rate_limit(&key, 0, &limit, nonce())
        .await
        .unwrap()
    else {
        panic!("not created")
    };
    assert_eq!((first.revision, first.rate_limit), (1, limit));
    assert_eq!(store.load_rate_limit(&key).await.unwrap(), Some(first));
    // The same write by another worker is refused, although the stored value equals its own.
    let again = store
        .save_rate_limit(&key, 0, &limit, nonce())
        .await
        .unwrap();
    assert_eq!(again, Written::Stale(Some(first)));
    let open = limit
        .record_outcome(CallOutcome::Failed, false, &limits, ms(6))
        .unwrap();
    let second = store
        .save_rate_limit(&key, 1, &open, nonce())
        .await
        .unwrap();
    assert!(
        matches!(second, Written::Done(limit) if limit.revision == 2 && limit.rate_limit == open)
    );
    // The connection of the same name of another tenant has its own.
    assert_eq!(store.load_rate_limit(&fresh()).await.unwrap(), None);
}

/// Leases units until it is throttled; returns the number that was granted.
async fn take_all(store: &Store, key: &domain::ConnectionKey, limits: &Limits) -> u32 {
    let ask: Cost = CallKind::List.cost(1, limits.model);
    let mut sum = 0;
    let mut current = store.load_rate_limit(key).await.unwrap();
    loop {
        let revision = current.map_or(0, |limit| limit.revision);
        let limit = current.map_or_else(|| RateLimit::new(limits, ms(0)), |limit| limit.rate_limit);
        let taken = match limit.lease(ask, ask, false, limits, ms(0)) {
            Ok(taken) => taken,
            Err(held) => {
                assert_eq!(held.by, ThrottledBy::Quota);
                return sum;
            }
        };
        let saved = store
            .save_rate_limit(key, revision, &taken.rate_limit, nonce())
            .await;
        current = match saved.unwrap() {
            Written::Done(limit) => {
                sum += taken.granted.quota;
                Some(limit)
            }
            Written::Stale(current) => current,
        };
    }
}

pub(crate) async fn concurrent_workers_lease_no_more_units_than_there_are(store: &Store) {
    let key = fresh();
    let limits = Limits {
        quota_per_minute: 20_000,
        ..Limits::default()
    };
    let (a, b, c) = tokio::join!(
        take_all(store, &key, &limits),
        take_all(store, &key, &limits),
        take_all(store, &key, &limits)
    );
    let there = limits.quota_size().capacity;
    assert!(a + b + c <= there, "{a} + {b} + {c} of {there}");
    // All of the quota was granted, except for less than one call.
    assert!(a + b + c > there - 100, "{a} + {b} + {c} of {there}");
}

pub(crate) async fn a_tenants_rates_are_shared_by_all_workers(store: &Store) {
    let tenant = fresh().tenant;
    let limits = TenantLimits::default();
    assert_eq!(store.load_tenant_rates(&tenant).await.unwrap(), None);
    let rates = TenantRates::new(&limits, ms(5)).counted(7, &limits, ms(4));
    let save = async |before, rates: TenantRates| {
        let saved = store.save_tenant_rates(&tenant, before, &rates, nonce());
        saved.await.unwrap()
    };
    let Written::Done(first) = save(0, rates).await else {
        panic!("not created")
    };
    assert_eq!((first.revision, first.rates), (1, rates));
    let loaded = store.load_tenant_rates(&tenant).await.unwrap();
    assert_eq!(loaded, Some(first));
    // Another worker that read the same takes the same amount.
    let (taken, _) = rates.take_requests(5, &limits, ms(6)).unwrap();
    assert!(matches!(save(1, taken).await, Written::Done(_)));
    let late = save(1, taken).await;
    assert!(matches!(late, Written::Stale(Some(now)) if now.revision == 2));
    let other = fresh().tenant;
    assert_eq!(store.load_tenant_rates(&other).await.unwrap(), None);
}

pub(crate) async fn what_a_tenant_begins_is_admitted_with_it_or_not_at_all(store: &Store) {
    let key = fresh();
    let tenant = &key.tenant;
    let limits = TenantLimits::default();
    let upload = |id: &str| MultipartUpload {
        id: id.to_owned(),
        file: file("f1"),
        hash: hash(1),
        size_bytes: 20,
        expected_version: 3,
        object: ObjectKey::content(tenant, &hash(1), 7),
        upload: UploadId::new("an upload"),
        part_bytes: 8_388_608,
        expires_at: ms(5_000),
    };
    let kind = |id: &str| SlotKind::Upload {
        id: id.to_owned(),
        bytes: 20,
    };
    let audit = SlotKind::Operation {
        id: OperationId::at(ms(1), 7),
        audits: Some(LogId::user()),
    };
    let slot = |kind| Slot {
        connection: key.connection.clone(),
        kind,
    };
    let begin = async |before: &StoredSlots, kind: SlotKind, id: &str| {
        let slots = before.slots.admit(&[slot(kind)], &limits).unwrap();
        let admission = Admission::new(tenant.clone(), before, slots);
        let admitting = store.admitting(&admission);
        let saved = admitting.save_multipart_upload(&key, &upload(id)).await;
        (saved.is_ok(), admission.is_stale())
    };
    let none = store.load_slots(tenant).await.unwrap();
    assert_eq!(none, StoredSlots::default());
    assert_eq!(begin(&none, kind("a1"), "a1").await, (true, false));
    // Two that read the same: the second begins nothing.
    assert_eq!(begin(&none, kind("a2"), "a2").await, (false, true));
    let absent = store.load_multipart_upload(&key, "a2", ms(0)).await;
    assert_eq!(absent.unwrap(), None);
    let one = store.load_slots(tenant).await.unwrap();
    assert_eq!((one.revision, one.slots.0.len()), (1, 1));
    assert_eq!(begin(&one, audit, "a3").await, (true, false));
    let two = store.load_slots(tenant).await.unwrap();
    assert_eq!(two.slots.0.len(), 2);
    assert_eq!(two.slots.0.first(), Some(&slot(kind("a1"))));

    let beside = domain::ConnectionKey {
        connection: domain::ConnectionId::parse("beside").unwrap(),
        ..key.clone()
    };
    store.remove_slots_of(&beside).await.unwrap();
    assert_eq!(store.load_slots(tenant).await.unwrap(), two);
    store.remove_slots_of(&key).await.unwrap();
    let left = store.load_slots(tenant).await.unwrap();
    assert_eq!((left.revision, left.slots.0.len()), (3, 0));
}

pub(crate) async fn what_is_read_is_counted(store: &Store) {
    let key = fresh();
    for number in 0..3 {
        let operation = Operation::new(
            key.clone(),
            OperationId::at(ms(number), 1),
            LogId::user(),
            "ann",
            ms(number),
            Run::audit(true),
        );
        store.create_operation(&operation).await.unwrap();
    }
    let meter = ReadMeter::default();
    let metered = store.metered(&meter);
    metered.recent_operations(&key).await.unwrap();
    metered
        .load_operation(&key, &OperationId::at(ms(1), 1))
        .await
        .unwrap();
    metered.count_read(10);
    assert_eq!((metered.read_count(), store.read_count()), (13, 0));
}
