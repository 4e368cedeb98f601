//! What runs on a real server: a web shop that keeps carts in its own memory, which is what makes
//! persistence necessary, and something that says hello as sshd does.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};

use lvs_sim::peers::{Answer, Service};

use super::http;

/// The shop of one real server; clones are the same shop, for its different ports.
#[derive(Clone, Debug)]
pub(super) struct Shop {
    server: Ipv4Addr,
    /// What is in each shopper's cart.
    carts: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Shop {
    pub(super) fn new(server: Ipv4Addr) -> Shop {
        Shop { server, carts: Arc::default() }
    }

    /// Throws all carts away.
    pub(super) fn forget(&self) {
        self.carts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Answers a request: `POST /cart/ITEM`, `GET /cart`, `POST /pay`, or a greeting.
    fn handle(&self, request: &http::Request) -> String {
        let mut carts = self.carts.lock().unwrap_or_else(PoisonError::into_inner);
        let cart = carts.entry(request.shopper.clone()).or_default();
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/pay") => {
                let paid = std::mem::take(cart);
                if paid.is_empty() {
                    return "nothing to pay".to_owned();
                }
                format!("paid: {}", paid.join(", "))
            }
            ("POST", path) => {
                cart.extend(path.strip_prefix("/cart/").map(str::to_owned));
                cart.join(", ")
            }
            (_, "/cart") if cart.is_empty() => "empty".to_owned(),
            (_, "/cart") => cart.join(", "),
            _ => "hello".to_owned(),
        }
    }
}

impl Service for Shop {
    fn answer(&mut self, _client: SocketAddrV4, received: &[u8]) -> Answer {
        match http::parse_request(received) {
            Ok(None) => Answer::default(),
            Ok(Some((request, consumed))) => {
                let reply = http::response("200 OK", self.server, &self.handle(&request));
                Answer { consumed, reply }
            }
            Err(_) => {
                let reply = http::response("400 Bad Request", self.server, "no HTTP request");
                Answer { consumed: received.len(), reply }
            }
        }
    }
}

/// The first line of an SSH server, which says which machine it is; and nothing more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Banner(pub(super) Ipv4Addr);

impl Service for Banner {
    fn greet(&mut self, _client: SocketAddrV4) -> Vec<u8> {
        format!("SSH-2.0-demo {}\r\n", self.0).into_bytes()
    }

    fn answer(&mut self, _client: SocketAddrV4, received: &[u8]) -> Answer {
        Answer { consumed: received.len(), reply: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(shop: &mut Shop, bytes: &[u8]) -> (usize, String) {
        let answer = shop.answer(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9), bytes);
        let reply = http::parse_response(&answer.reply).unwrap();
        (answer.consumed, reply.map_or_else(String::new, |reply| reply.body))
    }

    #[test]
    fn each_shopper_has_a_cart_at_each_server() {
        let mut shop = Shop::new(Ipv4Addr::new(192, 0, 2, 1));
        let ask = |shopper, method, path| {
            let request = http::request(method, path, shopper);
            say(&mut shop.clone(), &request).1
        };
        assert_eq!(ask("a", "POST", "/cart/tea"), "tea");
        assert_eq!(ask("a", "POST", "/cart/cups"), "tea, cups");
        assert_eq!(ask("b", "GET", "/cart"), "empty");
        assert_eq!(ask("a", "POST", "/pay"), "paid: tea, cups");
        assert_eq!(ask("a", "POST", "/pay"), "nothing to pay");
        assert_eq!(ask("a", "GET", "/"), "hello");
        assert_eq!(say(&mut shop, b"GET /ca"), (0, String::new()));
        assert_eq!(say(&mut shop, b"\0\0\0\0"), (4, "no HTTP request".to_owned()));
    }
}
