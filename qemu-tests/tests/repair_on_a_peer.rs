//! A unit of a real systemd machine is made to fail, and is seen repaired.
//!
//! Needs root for the peer's namespaces: without, every test here is reported as ignored.

#![expect(clippy::unwrap_used, reason = "a test: a wrong value ends it")]

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use vakt_peer::systemd::{ActiveState, Verb, VerbError};
use vakt_peer::{ConnectError, Session, Target};
use vakt_qemu_tests::systemd_peer::{self, DEMO, KeyPair, OTHER, SystemdPeer};
use vakt_wire::config::{MachineConfig, Peer, SshKey};

type Outcome = Result<(), Failed>;

fn main() -> ExitCode {
    let missing = systemd_peer::missing();
    if let Some(reason) = &missing {
        eprintln!("ignored: {reason}");
    }
    let trials = [("a_session_reads_states_and_repairs_what_it_may", a_session as fn() -> Outcome)];
    let trials = trials
        .into_iter()
        .map(|(name, run)| Trial::test(name, run).with_ignored_flag(missing.is_some()))
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn config_peer(peer: &SystemdPeer, host_key: &str) -> Peer {
    let text = format!(
        "version = 1\n[[peer]]\nname = \"db1\"\naddress = \"{}\"\nhost_key = \"{host_key}\"\n",
        peer.address()
    );
    let config: MachineConfig = vakt_wire::config::parse(&text).expect("a valid config");
    config.peers[0].clone()
}

fn target(peer: &SystemdPeer, host_key: &str) -> anyhow::Result<Target> {
    let key = SshKey::try_from(peer.repair_key().to_owned()).map_err(anyhow::Error::msg)?;
    Ok(Target::repair(&config_peer(peer, host_key), &key)?)
}

fn run<F: Future<Output = anyhow::Result<()>>>(work: F) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(work)?)
}

fn a_session() -> Outcome {
    let t = std::time::Instant::now();
    let peer = SystemdPeer::start()?;
    eprintln!("started in {:?}", t.elapsed());
    run(async {
        let stranger = KeyPair::random()?;
        let wrong = Session::connect(&target(&peer, &stranger.public)?).await;
        let said = wrong.expect_err("another host key");
        assert!(matches!(said, ConnectError::HostKey { .. }), "{said}");
        eprintln!("{said}");
        let t = std::time::Instant::now();
        let session = Session::connect(&target(&peer, peer.host_key())?).await?;
        eprintln!("connected in {:?}", t.elapsed());
        let t = std::time::Instant::now();
        let systemd = session.systemd().await?;
        eprintln!("bus in {:?}", t.elapsed());
        let (demo, other) = (DEMO.parse().unwrap(), OTHER.parse().unwrap());
        let t = std::time::Instant::now();
        let state = systemd.state(&demo).await?;
        eprintln!("{state:?} {:?}", t.elapsed());
        let mut watch = systemd.watch(&[std::clone::Clone::clone(&demo)]).await?;
        peer.fail_unit(DEMO)?;
        let changed = tokio::time::timeout(Duration::from_secs(30), watch.changed()).await?;
        eprintln!("{changed:?}");
        assert_eq!(systemd.state(&demo).await?.active, ActiveState::Failed);
        let t = std::time::Instant::now();
        let applied = systemd.apply(Verb::Restart, &demo, Duration::from_secs(30)).await?;
        eprintln!("{applied:?} {:?}", t.elapsed());
        assert_eq!(systemd.state(&demo).await?.active, ActiveState::Active);
        let refused = systemd.apply(Verb::Restart, &other, Duration::from_secs(30)).await.unwrap_err();
        eprintln!("{refused}");
        assert!(matches!(refused, VerbError::Refused { .. }));
        let refused = systemd.apply(Verb::Stop, &demo, Duration::from_secs(30)).await.unwrap_err();
        assert!(matches!(refused, VerbError::Refused { .. }));
        peer.cut_connections();
        Ok(())
    })
}
