//! The view of a SIP message.

use std::hint::black_box;

use corex_sip::SipView;
use criterion::Criterion;

use crate::INVITE;

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("view");
    group.bench_function("first line", |bencher| {
        bencher.iter(|| SipView::parse(black_box(INVITE)).is_ok());
    });
    group.bench_function("Call-ID", |bencher| {
        bencher.iter(|| {
            let view = SipView::parse(black_box(INVITE)).ok();
            black_box(view.and_then(|view| view.call_id().map(<[u8]>::len)))
        });
    });
    group.bench_function("topmost Via", |bencher| {
        bencher.iter(|| {
            let view = SipView::parse(black_box(INVITE)).ok();
            black_box(view.is_some_and(|view| view.top_via().is_some()))
        });
    });
    group.bench_function("From, To, CSeq and body", |bencher| {
        bencher.iter(|| {
            let Ok(view) = SipView::parse(black_box(INVITE)) else {
                return false;
            };
            let all = view.from().is_some() && view.to().is_some() && view.cseq().is_some();
            black_box(all && view.body().is_empty())
        });
    });
    group.finish();
}
