//! The connection itself: what vakt-peer promises.

use std::time::Duration;

use anyhow::Result;
use vakt_peer::systemd::{ActiveState, UnitName, Verb, VerbError};
use vakt_peer::{ConnectError, ExecError, Session, Target};
use vakt_qemu_tests::systemd_peer::{DEMO, KeyPair, OTHER, SystemdPeer};
use vakt_wire::config::{self, SshKey};

const WITHIN: Duration = Duration::from_secs(30);

pub fn a_session_does_what_it_may_and_nothing_else() -> Result<()> {
    run(async |peer| {
        let (stranger, demo, other): (_, UnitName, UnitName) =
            (KeyPair::random()?, DEMO.parse().unwrap(), OTHER.parse().unwrap());
        let said = Session::connect(&target(peer, &stranger.public, peer.repair_key())?).await.unwrap_err();
        assert!(matches!(said, ConnectError::HostKey { .. }), "{said}");
        let said = Session::connect(&target(peer, peer.host_key(), &stranger.private)?).await.unwrap_err();
        assert!(matches!(said, ConnectError::SignIn { .. }), "{said}");

        let session = Session::connect(&target(peer, peer.host_key(), peer.repair_key())?).await?;
        let systemd = session.systemd().await?;
        let mut watch = systemd.watch(std::slice::from_ref(&demo)).await?;
        peer.fail_unit(DEMO)?;
        let changed = tokio::time::timeout(WITHIN, watch.changed()).await?;
        assert_eq!(changed, Some([demo.clone()].into()));
        let state = systemd.state(&demo).await?;
        assert_eq!((state.active, state.result.as_str()), (ActiveState::Failed, "signal"));

        assert!(systemd.apply(Verb::Restart, &demo, WITHIN).await?.done());
        let again = systemd.state(&demo).await?;
        assert!(again.active == ActiveState::Active && again.invocation != state.invocation);
        for (verb, unit) in [(Verb::Restart, &other), (Verb::Stop, &demo), (Verb::Reload, &demo)] {
            let said = systemd.apply(verb, unit, WITHIN).await.unwrap_err();
            assert!(matches!(said, VerbError::Refused { .. }), "{said}");
        }
        let absent = systemd.state(&"absent.service".parse().unwrap()).await?;
        assert_eq!(absent.load, "not-found");

        peer.cut_connections();
        while tokio::time::timeout(WITHIN, watch.changed()).await?.is_some() {}
        assert!(session.exec("true", b"", 10, WITHIN).await.is_err());
        assert!(session.is_closed());
        Ok(())
    })
}

pub fn commands_are_bounded_in_output_and_time() -> Result<()> {
    run(async |peer| {
        let key = SshKey::try_from(peer.read_key().to_owned()).map_err(anyhow::Error::msg)?;
        let target = Target::read(&config_peer(peer, peer.host_key()), &key)?;
        let session = Session::connect(&target).await?;
        let output = session.exec("cat; echo oops >&2; exit 3", b"hello", 100, WITHIN).await?;
        assert_eq!((output.status, output.stdout.as_slice()), (Some(3), b"hello".as_slice()));
        assert_eq!(output.stderr, "oops\n");

        let input = vec![b'x'; 3 << 20];
        let output = session.exec("cat", &input, 4 << 20, WITHIN).await?;
        assert_eq!(output.stdout.len(), input.len(), "input and output at once do not block each other");

        let said = session.exec("yes", b"", 100_000, WITHIN).await.unwrap_err();
        assert!(matches!(said, ExecError::TooLarge { bytes_max: 100_000, .. }), "{said}");
        let said = session.exec("sleep 1000", b"", 10, Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(said, ExecError::Late { .. }), "{said}");
        let of_reader =
            "for p in /proc/[0-9]*; do test $(stat -c %U $p) != vakt-read || cat $p/comm; done; true";
        assert!(peer.run(of_reader)?.contains("sshd"), "the list of processes works");
        // Waits without blocking the runtime, on which the connection lives.
        let gone = async {
            while peer.run(of_reader)?.lines().any(|name| name == "sleep" || name == "yes") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(WITHIN, gone).await??;

        let twenty = (0..20).map(|n| {
            let session = &session;
            async move { session.exec(&format!("echo {n}"), b"", 10, WITHIN).await }
        });
        for (n, output) in futures_join(twenty).await.into_iter().enumerate() {
            assert_eq!(output?.stdout, format!("{n}\n").into_bytes());
        }
        Ok(())
    })
}

pub fn the_bridge_is_the_fallback() -> Result<()> {
    run(async |peer| {
        peer.run(
            "sed -i s/AllowStreamLocalForwarding.*/AllowStreamLocalForwarding\\ no/ /etc/ssh/sshd_config.d/60-vakt.conf \
             && systemctl restart ssh.service",
        )?;
        let session = Session::connect(&target(peer, peer.host_key(), peer.repair_key())?).await?;
        let systemd = session.systemd().await?;
        let demo = DEMO.parse().unwrap();
        assert_eq!(systemd.state(&demo).await?.active, ActiveState::Active);
        assert!(systemd.apply(Verb::Restart, &demo, WITHIN).await?.done());
        let said = systemd.apply(Verb::Stop, &demo, WITHIN).await.unwrap_err();
        assert!(matches!(said, VerbError::Refused { .. }), "{said}");
        Ok(())
    })
}

fn run(work: impl AsyncFnOnce(&SystemdPeer) -> Result<()>) -> Result<()> {
    let peer = SystemdPeer::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(&peer))
}

fn config_peer(peer: &SystemdPeer, host_key: &str) -> config::Peer {
    let text = format!(
        "version = 1\n[[peer]]\nname = \"db1\"\naddress = \"{}\"\nhost_key = \"{host_key}\"\n",
        peer.address()
    );
    config::parse(&text).unwrap().peers.remove(0)
}

fn target(peer: &SystemdPeer, host_key: &str, key: &str) -> Result<Target> {
    let key = SshKey::try_from(key.to_owned()).map_err(anyhow::Error::msg)?;
    Ok(Target::repair(&config_peer(peer, host_key), &key)?)
}

/// All of them at once, in order.
async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *output = Some(value);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
