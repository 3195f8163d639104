//! Listings, page by page.

use std::collections::BTreeSet;

use e2e::{Ids, Shop, failure, item, ok};
use proto::v1::{
    BatchReserveRequest, ListItemsRequest, ListItemsResponse, ListReservationsRequest,
};
use tokio::task::JoinSet;

use crate::{Row, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![row(
        "page token from elsewhere; page size negative / enormous",
        pages,
    )]
}

async fn page(shop: &Shop, size: i32, token: &str, prefix: &str) -> ListItemsResponse {
    ok(shop
        .admin()
        .list_items(page_request(size, token, prefix))
        .await)
}

fn page_request(page_size: i32, token: &str, prefix: &str) -> ListItemsRequest {
    ListItemsRequest {
        page_size,
        page_token: token.into(),
        item_id_prefix: prefix.into(),
        states: Vec::new(),
    }
}

async fn pages(World { shop, mut ids, .. }: World) {
    const ITEMS: usize = 1_005;
    // Fewer at a time than the control plane has places.
    for first in (0..ITEMS).step_by(100) {
        let mut made = JoinSet::new();
        for number in first..ITEMS.min(first + 100) {
            let shop = shop.clone();
            made.spawn(async move { shop.create(item(&format!("it-{number}")), 1).await });
        }
        made.join_all().await;
    }

    let enormous = page(&shop, i32::MAX, "", "").await;
    assert_eq!(enormous.items.len(), 1_000);
    let rest = page(&shop, i32::MAX, &enormous.next_page_token, "").await;
    assert_eq!(
        (rest.items.len(), &*rest.next_page_token),
        (ITEMS - 1_000, "")
    );
    let all = enormous
        .items
        .iter()
        .chain(&rest.items)
        .map(|item| &item.item_id);
    assert_eq!(all.collect::<BTreeSet<_>>().len(), ITEMS);
    assert_eq!(page(&shop, 0, "", "").await.items.len(), 100);

    failure(shop.admin().list_items(page_request(-1, "", "")).await).names(&["page_size"]);
    failure(
        shop.admin()
            .list_items(page_request(i32::MIN, "", ""))
            .await,
    )
    .names(&["page_size"]);

    let token = page(&shop, 10, "", "it-1").await.next_page_token;
    assert_eq!(page(&shop, 10, &token, "it-1").await.items.len(), 10);
    let other = ids.request();
    let elsewhere = [
        (&*token, ""),
        (&token, "it-2"),
        (&token[1..], "it-1"),
        ("x", "it-1"),
        (&other, "it-1"),
        ("ü", "it-1"),
    ];
    for (token, prefix) in elsewhere {
        let refused = shop
            .admin()
            .list_items(page_request(10, token, prefix))
            .await;
        failure(refused).names(&["page_token"]);
    }
    pages_of_reservations(&shop, &mut ids, &token).await;
}

async fn pages_of_reservations(shop: &Shop, ids: &mut Ids, of_items: &str) {
    let request = |page_size, page_token: &str| ListReservationsRequest {
        item_id: "it-1".into(),
        page_size,
        page_token: page_token.into(),
        ..ListReservationsRequest::default()
    };
    let list = async |request| shop.admin().list_reservations(request).await;
    ok(shop.adjust("it-1", 1_200, &ids.request()).await);
    for _ in 0..3 {
        let requests = (0..401).map(|_| Shop::request(&ids.key("it-1"), 1));
        let requests = requests.collect();
        ok(shop
            .inventory()
            .batch_reserve(BatchReserveRequest { requests })
            .await);
    }
    assert_eq!(ok(list(request(0, "")).await).reservations.len(), 100);
    let mut names = BTreeSet::new();
    let mut token = String::new();
    loop {
        let page = ok(list(request(i32::MAX, &token)).await);
        assert!(page.reservations.len() <= 1_000);
        names.extend(page.reservations.into_iter().map(|r| r.reservation_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names.len(), 1_201, "one unit was there before");
    for size in [-1, i32::MIN] {
        failure(list(request(size, "")).await).names(&["page_size"]);
    }
    let here = ok(list(request(5, "")).await).next_page_token;
    let of_another = ListReservationsRequest {
        item_id: "it-2".into(),
        ..request(5, &here)
    };
    failure(list(of_another).await).names(&["page_token"]);
    for bad in [of_items, &here[1..], "x", "ü"] {
        failure(list(request(5, bad)).await).names(&["page_token"]);
    }
    let of_reservations = page_request(10, &here, "it-1");
    failure(shop.admin().list_items(of_reservations).await).names(&["page_token"]);
}
