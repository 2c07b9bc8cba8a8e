//! The server on a whole machine of the appliance's generation: disks that really come and go under it, systemd as the
//! first process, the kernel's own client.
#![allow(missing_docs, reason = "the whole file is a test")]

#[path = "machine/desk.rs"]
mod desk;
#[path = "machine/hotplug.rs"]
mod hotplug;
#[path = "machine/kernel.rs"]
mod kernel;
#[path = "machine/newest.rs"]
mod newest;
#[path = "machine/operator.rs"]
mod operator;
#[path = "machine/power.rs"]
mod power;

use desk::Desk;
use lab::Base;

type Claim = (&'static str, fn(&Desk));

/// All of it on one machine: most of its time is spent on coming up.
#[test]
fn on_a_whole_machine_the_server_does_what_the_appliance_asks_of_it() {
    let Some(desk) = Desk::boot("on_a_whole_machine") else { return };
    let claims: &[Claim] = &[
        ("an operator's commands do what they did", operator::commands_do_what_they_did),
        ("a server that is killed comes back", operator::a_server_that_is_killed_comes_back),
        ("failover and failback, once", |desk| hotplug::failover_and_failback(desk, 1)),
        ("names that swap without a reload are refused", hotplug::names_that_swap_are_refused),
        ("a disk pulled out under a client is an error", hotplug::a_disk_pulled_out_is_an_error),
        ("the kernel's client, one connection", |desk| kernel::a_file_system_outlives_reloads(desk, 1)),
    ];
    desk.hold(claims);
}

#[test]
#[ignore = "cargo x vm"]
fn ten_rounds_of_failover_and_failback_mix_up_nothing() {
    let Some(desk) = Desk::boot("ten_rounds_of_failover_and_failback") else { return };
    let claims: &[Claim] = &[
        ("failover and failback, ten times", |desk| hotplug::failover_and_failback(desk, 10)),
        ("names that swap without a reload are refused", hotplug::names_that_swap_are_refused),
        ("a disk pulled out under a client is an error", hotplug::a_disk_pulled_out_is_an_error),
    ];
    desk.hold(claims);
}

#[test]
#[ignore = "cargo x vm"]
fn the_kernels_client_is_served_by_one_connection_and_by_four() {
    let Some(desk) = Desk::boot("the_kernels_client") else { return };
    let claims: &[Claim] = &[
        ("one connection", |desk| kernel::a_file_system_outlives_reloads(desk, 1)),
        ("four connections", |desk| kernel::a_file_system_outlives_reloads(desk, 4)),
        ("one connection again", |desk| kernel::a_file_system_outlives_reloads(desk, 1)),
    ];
    desk.hold(claims);
}

#[test]
#[ignore = "cargo x vm"]
fn on_the_newest_release_a_reload_has_an_answer_and_disks_come_and_go() {
    let Some(desk) = Desk::boot_with("on_the_newest_release", Base::Trixie, &newest::unit()) else { return };
    let claims: &[Claim] = &[
        ("systemctl reload returns when the fence is done", newest::a_reload_returns_when_it_is_done),
        ("failover and failback, twice", |desk| hotplug::failover_and_failback(desk, 2)),
        ("names that swap without a reload are refused", hotplug::names_that_swap_are_refused),
        (
            "a mapped disk that leads elsewhere is refused",
            newest::a_mapped_disk_that_leads_elsewhere_is_refused,
        ),
    ];
    desk.hold(claims);
}

#[test]
#[ignore = "cargo x vm"]
fn what_was_flushed_outlives_a_power_cut() {
    let Some(desk) = Desk::boot("what_was_flushed_outlives_a_power_cut") else { return };
    power::what_was_flushed_outlives_it(desk);
}
