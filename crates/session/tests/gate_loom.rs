//! P2, all interleavings: after the fence saw every turnstile empty, no request reaches the store.
//!
//! Runs only with `RUSTFLAGS="--cfg loom"`; `cargo x test` does that.
#![cfg(loom)]
#![allow(missing_docs)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use session::gate::{Gate, Turnstile};

struct World {
    gate: Gate,
    turnstiles: [Turnstile; 2],
    /// Set by the fence when it acknowledges; a write that sees it has escaped.
    acknowledged: AtomicBool,
}

fn write_twice(world: &World, session: usize) {
    for _ in 0..2 {
        if world.turnstiles[session].enter(&world.gate) {
            assert!(!world.acknowledged.load(Ordering::SeqCst), "a write after the fence was acknowledged");
            world.turnstiles[session].leave();
        }
    }
}

fn fence(world: &World, sessions: usize) {
    world.gate.revoke();
    for turnstile in &world.turnstiles[..sessions] {
        while !turnstile.is_empty() {
            thread::yield_now();
        }
    }
    world.acknowledged.store(true, Ordering::SeqCst);
}

fn run(sessions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(move || {
        let world = Arc::new(World {
            gate: Gate::new(),
            turnstiles: [Turnstile::new(), Turnstile::new()],
            acknowledged: AtomicBool::new(false),
        });
        let writers: Vec<_> = (0..sessions)
            .map(|session| {
                let world = world.clone();
                thread::spawn(move || write_twice(&world, session))
            })
            .collect();
        fence(&world, sessions);
        for writer in writers {
            writer.join().expect("the writer ends");
        }
    });
}

#[test]
fn nothing_of_one_session_reaches_the_store_after_the_fence() {
    run(1);
}

#[test]
fn nothing_of_two_sessions_reaches_the_store_after_the_fence() {
    run(2);
}
