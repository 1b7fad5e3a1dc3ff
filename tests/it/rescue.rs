//! `mantis rescue`: rows of a backup brought back into a database that goes on.

use mantis_tests::World;
use rusqlite::Connection;
use serde_json::{Value, json};

/// A shop whose orders refer to customers.
fn shop() -> (World, Connection) {
    let world = World::new();
    let db = Connection::open(world.path("shop.db")).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    db.pragma_update(None, "journal_mode", "wal").unwrap();
    db.execute_batch(
        "pragma foreign_keys = on;
         create table customer(id integer primary key, name text collate nocase, note);
         create table orders(id integer primary key, customer integer not null references customer(id) on delete cascade,
                             sum real, twice real generated always as (sum * 2));
         create index by_customer on orders(customer);
         create table visit(at text, what text);
         create table part(a, b, c, primary key(a, b));
         create table stock(a, b, c, primary key(a, b)) without rowid;
         with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
         insert into customer select i, 'Name ' || i, null from n;
         insert into orders(id, customer, sum) select id, id, id * 1.5 from customer;
         insert into visit values('1', 'a'), ('1', 'a'), ('2', 'b');
         insert into part values(1, null, 'x'), (1, 2, 'y'), (2, 2, x'00');
         insert into stock select a, ifnull(b, 9), c from part;",
    )
    .unwrap();
    world.ok(&["backup", "shop.db"]);
    (world, db)
}

fn one(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn rescue(world: &World, arguments: &[&str]) -> Value {
    world.ok(&[&["rescue", "latest"], arguments, &["--into", "shop.db"]].concat())
}

fn counts(rescued: &Value) -> [u64; 5] {
    ["missing", "different", "same", "inserted", "overwritten"]
        .map(|key| rescued[key].as_u64().unwrap())
}

#[test]
fn lost_and_changed_rows_come_back_in_one_transaction_beside_a_writer() {
    let (world, db) = shop();
    db.execute_batch("delete from customer where id between 10 and 12; update customer set name = 'NAME 20', note = 'x' where id = 20; insert into customer values(9000, 'New', 1)").unwrap();
    assert_eq!(one(&db, "select count(*) from orders"), 4997, "orders went with their customers");
    let path = world.path("shop.db");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let db = Connection::open(path).unwrap();
            db.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                db.execute("insert into visit values('now', 'live')", []).unwrap();
            }
        }
    });
    // First it is only looked.
    let looked = rescue(&world, &["customer"]);
    assert_eq!(counts(&looked), [3, 1, 4996, 0, 0], "{looked:#}");
    assert_eq!((&looked["applied"], &looked["without_table"]), (&json!(false), &json!(false)));
    let example =
        json!({ "state": "missing", "row": { "id": 10, "name": "Name 10", "note": null } });
    assert_eq!(looked["examples"][0], example);
    assert_eq!(looked["examples"][3]["row"]["id"], 20);
    assert_eq!(one(&db, "select count(*) from customer"), 4998, "nothing was changed");
    // Those that are missing come back, those that differ stay.
    let some = rescue(&world, &["customer", "--where", "id >= 11 -- and more", "--apply"]);
    assert_eq!(counts(&some), [2, 1, 4987, 2, 0], "{some:#}");
    assert_eq!(one(&db, "select count(*) from customer where note = 'x'"), 1);
    // Orders of customers that are not there are refused as a whole.
    let orders = ["rescue", "latest", "orders", "--into", "shop.db", "--apply"];
    let errors = world.fails(&orders, 1);
    assert!(
        errors.contains("FOREIGN KEY") && errors.contains("what it refers to first"),
        "{errors}"
    );
    assert_eq!(one(&db, "select count(*) from orders"), 4997);
    let rest = rescue(&world, &["CUSTOMER", "--apply", "--overwrite"]);
    assert_eq!(counts(&rest), [1, 1, 4998, 1, 1], "{rest:#}");
    let name: String = db
        .query_row("select name || ifnull(note, '-') from customer where id = 20", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(name, "Name 20-", "to the letter");
    assert_eq!(
        one(&db, "select count(*) from orders"),
        4997,
        "no order of customer 20 was lost by that"
    );
    let orders = rescue(&world, &["orders", "--apply"]);
    assert_eq!(counts(&orders), [3, 0, 4997, 3, 0], "{orders:#}");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writing.join().unwrap();
    assert_eq!(one(&db, "select count(*) from orders where twice = sum * 2"), 5000);
    assert_eq!(one(&db, "select count(*) from customer"), 5001, "what is new stays");
    assert!(one(&db, "select count(*) from visit where what = 'live'") > 0);
    let check: String = db.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn tables_of_every_kind_come_back() {
    let (world, db) = shop();
    db.execute_batch("delete from part where a = 1 and b is null; update part set c = 'z' where a = 2; delete from visit where at = '2'; drop table orders").unwrap();
    let parts = rescue(&world, &["part", "--apply", "--overwrite"]);
    assert_eq!(counts(&parts), [1, 1, 1, 1, 1], "{parts:#}");
    assert_eq!(parts["examples"][1]["row"], json!({ "a": 2, "b": 2, "c": "00" }));
    assert_eq!(one(&db, "select count(*) from part where c is x'00' or c in ('x', 'y')"), 3);
    db.execute_batch("delete from stock where a = 1").unwrap();
    assert_eq!(counts(&rescue(&world, &["stock", "--apply"])), [2, 0, 1, 2, 0]);
    // Without a primary key a row is there where all of it is.
    let visits = rescue(&world, &["visit", "--apply"]);
    assert_eq!(counts(&visits), [1, 0, 2, 1, 0], "{visits:#}");
    let looked = rescue(&world, &["orders"]);
    assert_eq!((counts(&looked), &looked["without_table"]), ([5000, 0, 0, 0, 0], &json!(true)));
    assert_eq!(one(&db, "select count(*) from sqlite_schema where name = 'orders'"), 0);
    let made = rescue(&world, &["orders", "--apply", "--where", "customer < 100"]);
    assert_eq!(counts(&made), [99, 0, 0, 99, 0], "{made:#}");
    assert_eq!(
        one(&db, "select count(*) from sqlite_schema where tbl_name = 'orders'"),
        2,
        "with its index"
    );
    assert_eq!(one(&db, "select count(*) from orders where twice = sum * 2"), 99);
}

#[test]
fn what_cannot_come_back_is_told() {
    let (world, db) = shop();
    let refused =
        |arguments: &[&str], code| world.fails(&[&["rescue", "latest"], arguments].concat(), code);
    let errors = refused(&["nothing", "--into", "shop.db"], 2);
    assert!(errors.contains("no table called \"nothing\""), "{errors}");
    assert!(refused(&["sqlite_schema", "--into", "shop.db"], 2).contains("sqlite_schema"));
    let errors = refused(&["customer", "--into", "elsewhere.db"], 1);
    assert!(
        errors.contains("elsewhere.db") && errors.contains("check that the file is there"),
        "{errors}"
    );
    assert!(!world.path("elsewhere.db").exists());
    assert!(refused(&["customer", "--into", "shop.db", "--where", "nmae = 1"], 1).contains("nmae"));
    // An expression cannot become another statement.
    let sly = "1); delete from customer; select (1";
    let _ = refused(&["customer", "--into", "shop.db", "--where", sly], 1);
    assert_eq!(one(&db, "select count(*) from customer"), 5000);
    db.execute_batch("alter table customer drop column note").unwrap();
    let errors = refused(&["customer", "--into", "shop.db"], 2);
    assert!(errors.contains("other columns than it has now: note"), "{errors}");
    // Somebody who does not let go of the database is waited for, and then told of.
    db.execute_batch("begin immediate").unwrap();
    let errors = refused(&["part", "--into", "shop.db", "--apply", "--busy-timeout", "100ms"], 1);
    assert!(errors.contains("another process writes"), "{errors}");
}
