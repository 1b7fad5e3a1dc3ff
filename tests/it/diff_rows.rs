//! `mantis diff --rows`: the rows that differ between two backups.

use mantis_tests::World;
use rusqlite::Connection;
use serde_json::{Value, json};

fn database(world: &World) -> Connection {
    let db = Connection::open(world.path("shop.db")).unwrap();
    db.execute_batch(
        "create table customer(id integer primary key, name text, note);
         create table stock(a, b, c, primary key(a, b)) without rowid;
         create table visit(at text, rowid text);
         create virtual table words using fts5(word);
         with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
         insert into customer select i, 'Name ' || i, null from n;
         insert into stock select id, 'x', 1 from customer where id < 500;
         insert into visit values('1', 'a'), ('2', 'b');",
    )
    .unwrap();
    db
}

/// The ids of the two newest backups, the older one first.
fn two(world: &World) -> [String; 2] {
    let listed = world.ok(&["list"]);
    let ids: Vec<String> =
        listed.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    [ids[ids.len() - 2].clone(), ids[ids.len() - 1].clone()]
}

fn diff(world: &World, table: &str) -> Value {
    let [a, b] = two(world);
    world.ok(&["diff", &a, &b, "--rows", table])["rows"].take()
}

fn counts(rows: &Value) -> [u64; 3] {
    ["added", "removed", "changed"].map(|key| rows[key].as_u64().unwrap())
}

#[test]
fn rows_that_differ_are_found_and_shown() {
    let world = World::new();
    let db = database(&world);
    world.ok(&["backup", "shop.db"]);
    db.execute_batch(
        "update customer set note = x'00ff' where id = 777; delete from customer where id between 5000 and 5009;
         insert into customer values(30000, 'New', 1.5), (-4, 'Below', null);
         update stock set c = 2 where a = 7; delete from stock where a = 8; insert into visit values('3', 'c');",
    )
    .unwrap();
    world.ok(&["backup", "shop.db"]);
    let customers = diff(&world, "Customer");
    assert_eq!(counts(&customers), [2, 10, 1], "{customers:#}");
    assert_eq!(customers["all_compared"], false, "pages told which may differ");
    let examples = customers["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 13);
    let changed = json!({
        "state": "changed", "was": { "id": 777, "name": "Name 777", "note": null },
        "is": { "id": 777, "name": "Name 777", "note": "00ff" },
    });
    assert!(examples.contains(&changed), "{customers:#}");
    assert!(
        examples.contains(
            &json!({ "state": "added", "is": { "id": 30000, "name": "New", "note": 1.5 } })
        )
    );
    let stock = diff(&world, "stock");
    assert_eq!((counts(&stock), &stock["all_compared"]), ([0, 1, 1], &json!(true)));
    assert_eq!(counts(&diff(&world, "visit")), [1, 0, 0], "a column called rowid");

    let [a, b] = two(&world);
    let told = |table| world.fails(&["diff", &a, &b, "--rows", table], 2);
    assert!(told("nothing").contains("no table called"));
    assert!(told("words").contains("keeps its rows in other tables"));
    // As a person sees it.
    let mut plain = std::process::Command::new(mantis_tests::mantis());
    plain.args(["diff", &a, &b, "--rows", "customer", "--limit", "1", "--repo", &world.repo]);
    let text = String::from_utf8(plain.output().unwrap().stdout).unwrap();
    assert!(text.contains("2 rows added, 10 removed, 1 changed; 12 are not shown"), "{text}");
    // Back again: what was added is what is removed.
    let back = world.ok(&["diff", &b, &a, "--rows", "customer"])["rows"].take();
    assert_eq!(counts(&back), [10, 2, 1]);
    // Nothing differs from itself.
    assert_eq!(counts(&world.ok(&["diff", &a, &a, "--rows", "customer"])["rows"]), [0, 0, 0]);
}

#[test]
fn columns_and_tables_that_came_or_went_are_told() {
    let world = World::new();
    let db = database(&world);
    world.ok(&["backup", "shop.db"]);
    db.execute_batch(
        "alter table customer add column since text; update customer set since = 'now' where id = 3; update customer set name = 'x' where id = 4;
         drop table visit; create table visit(at text, rowid text); insert into visit values('1', 'a')",
    )
    .unwrap();
    world.ok(&["backup", "shop.db"]);
    let customers = diff(&world, "customer");
    assert_eq!(counts(&customers), [0, 0, 1], "{customers:#}");
    assert_eq!(customers["other_columns"], json!(["since"]));
    assert_eq!(counts(&diff(&world, "visit")), [0, 1, 0]);
}
