//! Ethernet addresses on the command line.

use lvs_core::addr::MacAddr;

/// The address of one station.
pub(crate) fn parse(text: &str) -> Result<MacAddr, &'static str> {
    let mac = six_bytes(text).ok_or("write six bytes in hexadecimal, as in 02:00:00:00:00:02")?;
    if mac.is_group() || mac == MacAddr::default() {
        return Err("it is no address of a station: the first byte must be even");
    }
    Ok(mac)
}

fn six_bytes(text: &str) -> Option<MacAddr> {
    let mut bytes = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next().filter(|part| matches!(part.len(), 1 | 2))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(MacAddr(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_six_bytes_of_one_station() {
        assert_eq!(parse("02:0:a:FF:10:01"), Ok(MacAddr([2, 0, 10, 255, 16, 1])));
        assert_eq!(parse("02-00-0a-ff-10-01"), Ok(MacAddr([2, 0, 10, 255, 16, 1])));
        for text in ["", "02:00", "02:00:00:00:00:00:00", "02:00:00:00:00:x", "02:00:00:00:00:001"]
        {
            assert!(parse(text).unwrap_err().starts_with("write six bytes"), "{text}");
        }
        for text in ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"] {
            assert!(parse(text).unwrap_err().starts_with("it is no address"), "{text}");
        }
    }
}
