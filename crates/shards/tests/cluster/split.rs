//! The network between the nodes is cut.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::grants::Sale;
use crate::server::{Server, eventually, now};
use crate::servers::{Cluster, Plan};

/// Grants before anything is done to the cluster.
const GRANTS: usize = 50;

/// Whether this node serves slots by now, as another one sees it.
fn is_elected(cluster: &Cluster, node: usize, sees: usize) -> Result<(), String> {
    let view = Cluster::view_of(cluster.node(sees))?;
    let member = view.member(cluster.id(node)).ok_or("unknown")?;
    let elected = member.is("master") && !member.slots.is_empty();
    elected.then_some(()).ok_or(format!("{member:?}"))
}

/// ⚔ {a master, one of its replicas, our server} on one side, the other masters
/// and its other replica on the other. Masters vote, not replicas: the one that
/// has not heard of the grants is elected. So none may be acknowledged before
/// it has.
#[tokio::test]
async fn a_split_loses_no_grant_that_was_acknowledged() {
    let mut cluster = Plan::new(3, 1).splittable().start();
    let (master, near) = (0, 3);
    let far = cluster.add_replica(master);
    let there = [1, 2, 4, 5, far];
    let server = Server::start(&cluster);
    let sale = Sale::begin(&server, &cluster, master, 1_000_000).await;

    let stop = AtomicBool::new(false);
    let story = async {
        eventually("grants", async || {
            let granted = sale.granted();
            if granted < GRANTS {
                Err(granted)
            } else {
                Ok(())
            }
        })
        .await;
        cluster.split(&[&[master, near], &there]);
        cluster.cut_clients_from(&there);
        let cut = now();
        eventually("an election on the other side", async || {
            is_elected(&cluster, far, 1)
        })
        .await;
        let healed = now();
        cluster.heal();
        eventually("a cluster that is whole", async || cluster.check()).await;
        stop.store(true, Ordering::Relaxed);
        (cut, healed)
    };
    let ((), (cut, healed)) = tokio::join!(sale.load(&server, &stop), story);

    // The sale goes on, where the cluster says.
    sale.ask_until_granted(&server).await;
    sale.ends_well(&server).await;
    let (during, granted) = sale.of_calls(|calls| {
        let during = calls
            .iter()
            .filter(|call| call.begun >= cut && call.ended <= healed);
        let granted = during.clone().filter(|call| call.is_granted()).count();
        (during.count(), granted)
    });
    println!("{during} calls during the split, {granted} of them granted");
    assert!(during > 0);
    assert_eq!(
        granted, 0,
        "not while a replica that can be elected is cut off"
    );
}
