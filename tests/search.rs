//! Searching by words, by vectors and by both: modes, fusion, diversity, thresholds, several stores.

use std::sync::Arc;

use vdb::{
    Control, Document, Error, Filter, Fusion, Hit, Metric, Mode, OpenOptions, Query, Snapshot, Store,
    Together,
};

use crate::util::{Letters, Random};

/// Documents whose words and vectors tell different stories.
const TEXTS: [(&str, &str); 7] = [
    ("team", "새 검색팀을 꾸렸다"),
    ("teams", "검색팀의 일정과 팀 이름"),
    ("code", "error KB5034441 in libfoo-2.0.1, see get_user_name()"),
    ("mail", "write to kim@example.com about ＦＵＬＬ ｗｉｄｔｈ"),
    ("red", "a red cabbage bed"),
    ("blue", "the red and the blue balloon"),
    ("fade", "faded beads, a deaf cab"),
];

/// The texts in a store with a model, which cuts them at full stops.
fn store() -> Store {
    filled(OpenOptions::new().embedder(Arc::new(Letters::new("letters"))))
}

fn filled(options: OpenOptions) -> Store {
    let store = options.in_memory().unwrap();
    let document = |(n, (id, text)): (usize, &(&str, &str))| {
        Document::new(*text).id(*id).metadata_json(&format!("{{\"n\": {n}}}")).unwrap()
    };
    store.add(TEXTS.iter().enumerate().map(document)).unwrap();
    store
}

fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.id.as_str()).collect()
}

fn found(store: &Store, text: &str) -> Vec<String> {
    let hits = store.search(&Query::text(text).mode(Mode::Text)).unwrap();
    hits.into_iter().map(|hit| hit.id).collect()
}

#[test]
fn words_in_every_script() {
    let store = filled(OpenOptions::new());
    for (query, expected) in [
        ("검색팀", &["team", "teams"][..]),
        ("팀", &["teams", "team"]),
        ("kb5034441", &["code"]),
        ("2.0.1", &["code"]),
        ("get_user_name", &["code"]),
        ("example.com", &["mail"]),
        ("example", &["mail"]),
        ("full", &["mail"]),
        ("\u{1100}\u{1165}\u{11b7}\u{1109}\u{1162}\u{11a8}", &["team", "teams"]),
        ("\"red and\"", &["blue"]),
        ("\"and red\"", &[]),
        ("ball*", &["blue"]),
        ("red -balloon", &["red"]),
        ("+blue red cabbage", &["blue"]),
        ("-balloon", &["blue"]),
        ("nowhere", &[]),
        ("?! ...", &[]),
        ("", &[]),
        ("\u{0}\u{1b}[31m", &[]),
    ] {
        assert_eq!(found(&store, query), expected, "{query:?}");
    }
    // No length is too much.
    assert_eq!(found(&store, &"balloon \u{7} \"".repeat(10_000)), ["blue"]);
    assert!(found(&store, &"(\"*+-".repeat(20_000)).is_empty());
}

#[test]
fn modes_are_chosen_by_what_is_there() {
    let store = store();
    let mode = |store: &Store, query: Query| store.snapshot().unwrap().explain(&query).unwrap().plan.mode;
    assert_eq!(mode(&store, Query::text("red")), Mode::Hybrid);
    assert_eq!(mode(&store, Query::text("red").diverse(0.5)), Mode::Vector);
    assert_eq!(mode(&store, Query::vector([1.0; 8])), Mode::Vector);
    assert_eq!(mode(&store, Query::like("red")), Mode::Vector);
    let words = Store::in_memory().unwrap();
    words.add([Document::new("red").id("a"), Document::new("red and blue").id("b")]).unwrap();
    assert_eq!(mode(&words, Query::text("red")), Mode::Text);
    assert_eq!(mode(&words, Query::like("a")), Mode::Text);
    assert_eq!(ids(&words.search(&Query::like("a")).unwrap()), ["b"]);
    let bare = OpenOptions::new().text(false).embedder(Arc::new(Letters::new("x"))).in_memory().unwrap();
    bare.add([Document::new("bead").id("a")]).unwrap();
    assert_eq!(mode(&bare, Query::text("bead -bead")), Mode::Vector);
    // What is not there is named, and what to do.
    for (store, query, said) in [
        (&bare, Query::text("x").mode(Mode::Text), "has no text index"),
        (&bare, Query::text("x").mode(Mode::Hybrid), "has no text index"),
        (&words, Query::text("x").mode(Mode::Vector), "or choose the mode text"),
        (&words, Query::text("x").mode(Mode::Hybrid), "give one, or a vector"),
    ] {
        let Error::Unavailable { reason, .. } = store.search(&query).unwrap_err() else { panic!() };
        assert!(reason.contains(said), "{reason}");
    }
    let error = store.search(&Query::vector([1.0; 8]).mode(Mode::Hybrid)).unwrap_err();
    assert!(matches!(&error, Error::Invalid { what, .. } if what == "mode"), "{error}");
}

#[test]
fn numbers_out_of_range_are_refused() {
    let (store, text) = (store(), || Query::text("red"));
    for (query, named) in [
        (text().text_weight(1.01), "text weight"),
        (text().text_weight(f64::NAN), "text weight"),
        (text().diverse(-0.1), "lambda"),
        (text().diverse(f64::INFINITY), "lambda"),
        (text().min_cosine(2.0), "least cosine"),
        (text().min_score(f32::NAN), "least score"),
        (text().min_score(0.5), "least score"),
        (text().recall(0.0), "recall"),
    ] {
        let error = store.search(&query).unwrap_err();
        assert!(matches!(&error, Error::Invalid { what, .. } if what == named), "{named}: {error}");
    }
}

#[test]
fn both_rankings_become_one() {
    let store = store();
    let snapshot = store.snapshot().unwrap();
    let near = [0.3, 0.2, 0.9, 0.1, 0.8, 0.05, 0.02, 0.4];
    let query = |mode| Query::text("red balloon -cabbage").with_vector(near).mode(mode).k(20);
    let [vector, text, hybrid] =
        [Mode::Vector, Mode::Text, Mode::Hybrid].map(|mode| snapshot.explain(&query(mode)).unwrap());
    assert_eq!(vector.hits.len(), TEXTS.len());
    assert_eq!(ids(&text.hits), ["blue"]);
    // What is excluded is excluded from vectors, too, where words are looked at.
    assert_eq!(hybrid.hits.len(), TEXTS.len() - 1);
    assert!(!ids(&hybrid.hits).contains(&"red"));
    let weighing = hybrid.plan.weighing.clone().unwrap();
    let (side, least) = (hybrid.plan.vector.unwrap(), hybrid.plan.vector.unwrap().least);
    for hit in &hybrid.hits {
        let by_vector = hit.parts.vector.map_or(0.0, |score| (score - least) / (side.best - least));
        let by_text = hit.parts.text.map_or(0.0, |_| 1.0);
        let weight = weighing.text_weight;
        let expected = weight * by_text + (1.0 - weight) * f64::from(by_vector);
        assert!((f64::from(hit.score) - expected).abs() < 1e-5, "{hit:?}: {expected}");
        assert_eq!(hit.distance, hit.parts.vector.map(|score| Metric::Cosine.distance(score)));
    }
    let weighed = |weight| snapshot.explain(&query(Mode::Hybrid).text_weight(weight)).unwrap();
    assert_eq!(weighed(1.0).hits[0].id, "blue");
    let all: Vec<&str> = ids(&vector.hits).into_iter().filter(|id| *id != "red").collect();
    assert_eq!(ids(&weighed(0.0).hits), all);
    assert_eq!(weighed(0.3).plan.weighing.unwrap().reason, "as asked for");
    let ranks = snapshot.search(&query(Mode::Hybrid).fusion(Fusion::Ranks).k(1)).unwrap();
    let place = all.iter().position(|id| *id == ranks[0].id).unwrap();
    let expected = [1.0 / 61.0, 0.0][usize::from(ranks[0].parts.text.is_none())]
        + 1.0 / f32::from(u16::try_from(61 + place).unwrap());
    assert!((ranks[0].score - expected).abs() < 1e-6, "{ranks:?}");
}

#[test]
fn never_fewer_than_match() {
    let store = store();
    for mode in [Mode::Vector, Mode::Text, Mode::Hybrid] {
        for k in [0, 1, 2, 5, 100, usize::MAX] {
            let filter = Filter::field("n").gte(3);
            let hits = store.search(&Query::text("red a").mode(mode).k(k).filter(filter)).unwrap();
            let matches = if mode == Mode::Text { 3 } else { 4 };
            assert_eq!(hits.len(), k.min(matches), "{mode:?} {k}");
            assert!(hits.iter().all(|hit| !["team", "teams", "code"].contains(&hit.id.as_str())));
        }
    }
    let snapshot = store.snapshot().unwrap();
    let plan = snapshot.explain(&Query::text("red").filter(Filter::field("n").gte(3))).unwrap().plan;
    // One of the four has two parts.
    assert_eq!((plan.filter_path, plan.allowed), ("index", 5));
}

/// Many documents, so that thresholds and diversity have something to choose from.
fn many(metric: Metric) -> Store {
    let store = OpenOptions::new().metric(metric).dim(6).in_memory().unwrap();
    let mut random = Random(7);
    let document = |n: u64| {
        let text = format!("word{} common{}", n % 40, n % 3);
        let document = Document::new(text).id(format!("{n}")).vector(random.vector(6));
        document.metadata_json(&format!("{{\"kind\": {}}}", n % 3)).unwrap()
    };
    store.add((0..400).map(document)).unwrap();
    store
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

fn vector_of(snapshot: &Snapshot, id: &str) -> Vec<f32> {
    snapshot.get_with_vectors(id).unwrap().unwrap().parts()[0].vector.clone().unwrap()
}

#[test]
fn a_least_cosine_holds_in_every_mode_and_metric() {
    for metric in [Metric::Cosine, Metric::L2, Metric::InnerProduct] {
        let store = many(metric);
        let snapshot = store.snapshot().unwrap();
        let vector = Random(9).vector(6);
        let near: Vec<String> = (0..400)
            .map(|n| n.to_string())
            .filter(|id| cosine(&vector_of(&snapshot, id), &vector) >= 0.3)
            .collect();
        assert!((20..200).contains(&near.len()));
        for mode in [Mode::Vector, Mode::Text, Mode::Hybrid] {
            let query = Query::text("common0 word7").with_vector(vector.clone()).mode(mode).min_cosine(0.3);
            let all = snapshot.search(&query.clone().k(1000)).unwrap();
            assert!(all.iter().all(|hit| near.contains(&hit.id)), "{metric} {mode:?}");
            let has_word = |id: &&String| {
                let n: u64 = id.parse().unwrap();
                n.is_multiple_of(3) || n % 40 == 7
            };
            let expected = if mode == Mode::Text { near.iter().filter(has_word).count() } else { near.len() };
            assert_eq!(all.len(), expected, "{metric} {mode:?}");
            assert_eq!(snapshot.search(&query.k(5)).unwrap().len(), 5);
        }
        let words = snapshot.search(&Query::text("common0").mode(Mode::Text).min_cosine(0.3));
        assert!(matches!(words.unwrap_err(), Error::Unavailable { .. }));
    }
}

#[test]
fn diversity_chooses_as_the_formula_says() {
    let store = many(Metric::L2);
    let snapshot = store.snapshot().unwrap();
    let vector = Random(11).vector(6);
    for (query, lambda) in [
        (Query::vector(vector.clone()), 0.5),
        (Query::vector(vector.clone()).filter(Filter::field("kind").eq(1)), 0.3),
        (Query::text("common2 word5").with_vector(vector.clone()).mode(Mode::Hybrid), 0.7),
        (Query::text("common2 word5").with_vector(vector.clone()).mode(Mode::Text), 0.0),
    ] {
        let candidates = snapshot.search(&query.clone().k(30)).unwrap();
        let vectors: Vec<Vec<f32>> = candidates.iter().map(|hit| vector_of(&snapshot, &hit.id)).collect();
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < 8 {
            let worth = |n: usize| {
                let relevance = cosine(&vector, &vectors[n]);
                let redundancy = chosen.iter().map(|&c| cosine(&vectors[n], &vectors[c]));
                match redundancy.reduce(f64::max) {
                    Some(redundancy) => lambda * relevance - (1.0 - lambda) * redundancy,
                    None => relevance,
                }
            };
            let left = (0..vectors.len()).filter(|n| !chosen.contains(n));
            chosen.push(left.reduce(|a, b| if worth(b) > worth(a) { b } else { a }).unwrap());
        }
        let expected: Vec<&str> = chosen.iter().map(|&n| candidates[n].id.as_str()).collect();
        let hits = snapshot.search(&query.clone().k(8).diverse(lambda).fetch_k(30)).unwrap();
        assert_eq!(ids(&hits), expected);
        // Never fewer than are wanted, however few are to be looked at.
        assert_eq!(snapshot.search(&query.k(8).diverse(lambda).fetch_k(2)).unwrap().len(), 8);
    }
}

#[test]
fn several_stores_are_one() {
    let (all, halves) = (store(), [store(), store()]);
    for (n, (id, _)) in TEXTS.iter().enumerate() {
        halves[n % 2].delete([id]).unwrap();
    }
    let snapshots = halves.each_ref().map(|store| store.snapshot().unwrap());
    let together = Together::new(&snapshots).unwrap();
    let whole = all.snapshot().unwrap();
    for query in [
        Query::text("a faded bead").mode(Mode::Vector),
        Query::vector([1.0, 0.5, 0.0, 0.0, 2.0, 0.0, 0.0, 0.1]),
    ] {
        // Those that are equally near may come in another order.
        let query = query.k(3);
        let found = together.explain(&query).unwrap();
        assert_eq!(found.hits, whole.search(&query).unwrap());
        for (hit, &source) in found.hits.iter().zip(&found.sources) {
            assert!(snapshots[source].get(&hit.id).unwrap().is_some());
        }
    }
    let hybrid = together.explain(&Query::text("red cabbage").k(3)).unwrap();
    assert_eq!((hybrid.plan.mode, hybrid.hits[0].id.as_str()), (Mode::Hybrid, "red"));
    // A document is like those of all stores.
    let like = Query::like("fade").k(TEXTS.len());
    let sorted = |mut hits: Vec<Hit>| {
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score), "{hits:?}");
        // Of several stores, those that are equally near come in another order.
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        hits
    };
    let found = sorted(together.explain(&like).unwrap().hits);
    assert_eq!((found.len(), &found), (TEXTS.len() - 1, &sorted(whole.search(&like).unwrap())));
    let mut queries = [Query::text("a bead"), Query::vector([1.0; 8])];
    together.embed(&mut queries, &Letters::new("letters")).unwrap();
    assert_eq!(
        together.explain(&queries[0]).unwrap().hits,
        together.explain(&Query::text("a bead")).unwrap().hits
    );
    let batch = whole.search_all(&[Query::text("red"), Query::text("검색팀")]).unwrap();
    assert_eq!(
        batch,
        [whole.search(&Query::text("red")).unwrap(), whole.search(&Query::text("검색팀")).unwrap()]
    );
    let other = OpenOptions::new().metric(Metric::L2).in_memory().unwrap().snapshot().unwrap();
    assert!(matches!(Together::new([&snapshots[0], &other]).unwrap_err(), Error::Invalid { .. }));
}

#[test]
fn words_are_marked() {
    let snapshot = store().snapshot().unwrap();
    let text = "새 검색팀을 꾸렸다";
    let marks = snapshot.highlights(&Query::text("검색팀"), text).unwrap();
    assert_eq!(marks.into_iter().map(|mark| &text[mark]).collect::<Vec<_>>(), ["검색팀"]);
    assert!(snapshot.highlights(&Query::like("red"), text).unwrap().is_empty());
}

#[test]
fn words_are_found_in_whole_texts_and_the_part_that_has_them_is_shown() {
    let store = Store::in_memory().unwrap();
    let text = "The first part is of rivers. The second is of mountains and of snow.";
    let cut = text.find("The second").unwrap();
    let parts = Document::new(text).id("parts").part(0..cut - 1, None).part(cut..text.len(), None);
    let other = Document::new("There are mountains, and nothing more is said of them here.").id("other");
    store.add([parts, other]).unwrap();
    let hits = |text: &str| {
        let hits = store.search(&Query::text(text).mode(Mode::Text)).unwrap();
        hits.into_iter().map(|hit| (hit.id, hit.span)).collect::<Vec<_>>()
    };
    let (whole, second) = (0..cut - 1, cut..text.len());
    // Words on both sides of a cut count together.
    assert_eq!(hits("rivers mountains")[0], ("parts".to_owned(), whole.clone()));
    assert_eq!(hits("rivers"), [("parts".to_owned(), whole)]);
    assert_eq!(hits("snow mountains")[0], ("parts".to_owned(), second.clone()));
    assert_eq!(hits("\"rivers the second\"").len(), 1);
    // The same from a segment.
    store.compact(&Control::new()).unwrap();
    assert_eq!(hits("snow"), [("parts".to_owned(), second)]);
}
