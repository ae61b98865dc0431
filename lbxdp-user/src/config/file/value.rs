//! Values of single keys: numbers, addresses, durations.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;

use super::read::{Value, wrong_type};
use crate::config::model::Ports;
use crate::config::report::Report;

/// A string that no message may repeat.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A MAC address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

/// Several ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortRange(pub(crate) Ports);

/// A number, or that of the packet inside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OrInherit {
    Inherit,
    Number(u16),
}

/// One value of a header field, or several.
#[derive(Clone, Debug)]
pub(crate) struct HeaderValues(pub(crate) Vec<String>);

/// Reads a value that is written as a string; `$parse` gives the value or says what is wrong.
macro_rules! from_string {
    ($type:ty, $form:literal, $parse:expr) => {
        impl Value for $type {
            fn form() -> String {
                $form.to_owned()
            }

            fn read(
                value: &Spanned<DeValue<'_>>,
                path: &str,
                report: &mut Report<'_>,
            ) -> Option<Self> {
                let Some(text) = value.get_ref().as_str() else {
                    wrong_type::<Self>(value.get_ref(), path, report);
                    return None;
                };
                let parse: fn(&str) -> Result<Self, String> = $parse;
                match parse(text) {
                    Ok(value) => Some(value),
                    Err(hint) => {
                        report.error(path, format!("{text:?} is not {}", $form), hint);
                        None
                    }
                }
            }
        }
    };
}

from_string!(String, "a string", |text| Ok(text.to_owned()));
from_string!(PathBuf, "a path", |text| Ok(text.into()));
from_string!(Secret, "a string of hexadecimal digits", |text| Ok(Self(
    text.to_owned()
)));
from_string!(IpAddr, "an IP address", |text| {
    text.parse::<IpAddr>().map(|address| address.to_canonical()).map_err(|_| {
        if text.contains('/') {
            "leave out the prefix length".to_owned()
        } else if text.parse::<std::net::SocketAddr>().is_ok() {
            "leave out the port; it has a key of its own".to_owned()
        } else if text.bytes().any(|b| b.is_ascii_alphabetic()) && !text.contains(':') {
            "host names are not resolved: write the address, as in \"192.0.2.1\" or \"2001:db8::1\"".to_owned()
        } else {
            "write it as in \"192.0.2.1\" or \"2001:db8::1\"".to_owned()
        }
    })
});
from_string!(SocketAddr, "an IP address with a port", |text| {
    const FORM: &str = "write it as in \"127.0.0.1:9733\" or \"[::1]:9733\"";
    let address = text.parse::<SocketAddr>().map_err(|_| {
        match text.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => format!("add the port, as in \"{}\"", SocketAddr::new(address, 9733)),
            Err(_) if text.starts_with(':') => {
                format!("{FORM}; \"0.0.0.0\" is any of the node's addresses")
            }
            Err(_) if text.bytes().any(|b| b.is_ascii_alphabetic()) && !text.contains('[') => {
                format!("host names are not resolved: {FORM}")
            }
            Err(_) => FORM.to_owned(),
        }
    })?;
    Ok(match address.ip().to_canonical() {
        canonical if canonical == address.ip() => address,
        canonical => Self::new(canonical, address.port()),
    })
});
from_string!(IpNet, "an IP prefix", |text| {
    text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(address) => format!(
            "add the prefix length, as in \"{address}/{}\"",
            if address.is_ipv4() { 32 } else { 128 }
        ),
        Err(_) => "write it as in \"10.0.0.0/8\" or \"2001:db8::/32\"".to_owned(),
    })
});
from_string!(Mac, "a MAC address", |text| {
    let hint = || "write six bytes, as in \"02:00:00:00:00:01\"".to_owned();
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts
            .next()
            .filter(|part| part.len() == 2)
            .ok_or_else(hint)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| hint())?;
    }
    if parts.next().is_some() {
        return Err(hint());
    }
    if mac[0] & 1 != 0 || mac == [0; 6] {
        return Err("a device's own address is neither zero nor a multicast address".to_owned());
    }
    Ok(Self(mac))
});

from_string!(
    PortRange,
    "a range of ports (\"8000-8099\") or \"any\"",
    |text| {
        const HINT: &str = "write the first and the last, as in \"8000-8099\", or \"any\"";
        if text == "any" {
            return Ok(Self(Ports::Any));
        }
        let Some((first, last)) = text.split_once('-') else {
            return Err(match text.parse::<u16>() {
                Ok(port) => format!("write `port = {port}` instead"),
                Err(_) => HINT.to_owned(),
            });
        };
        let number = |text: &str| text.trim().parse::<u16>().map_err(|_| HINT.to_owned());
        let (first, last) = (number(first)?, number(last)?);
        match first {
            0 => Err("the first port is at least 1".to_owned()),
            _ if first > last => Err("the first port comes first".to_owned()),
            _ if first == last => Ok(Self(Ports::One(first))),
            _ => Ok(Self(Ports::Range(first, last))),
        }
    }
);

impl Value for bool {
    fn form() -> String {
        "true or false".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, path: &str, report: &mut Report<'_>) -> Option<Self> {
        let read = value.get_ref().as_bool();
        if read.is_none() {
            wrong_type::<Self>(value.get_ref(), path, report);
        }
        read
    }
}

macro_rules! from_integer {
    ($type:ty, $form:literal) => {
        impl Value for $type {
            fn form() -> String {
                $form.to_owned()
            }

            fn read(
                value: &Spanned<DeValue<'_>>,
                path: &str,
                report: &mut Report<'_>,
            ) -> Option<Self> {
                let DeValue::Integer(integer) = value.get_ref() else {
                    wrong_type::<Self>(value.get_ref(), path, report);
                    return None;
                };
                let read = Self::from_str_radix(integer.as_str(), integer.radix());
                if read.is_err() {
                    report.error(
                        path,
                        format!("{} is out of range", integer.as_str()),
                        concat!("write ", $form),
                    );
                }
                read.ok()
            }
        }
    };
}

from_integer!(u16, "an integer from 0 to 65535");
from_integer!(u32, "an integer from 0 to 4294967295");

impl Value for OrInherit {
    fn form() -> String {
        "an integer or \"inherit\"".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, path: &str, report: &mut Report<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Integer(_) => u16::read(value, path, report).map(Self::Number),
            DeValue::String(text) if text == "inherit" => Some(Self::Inherit),
            other => {
                wrong_type::<Self>(other, path, report);
                None
            }
        }
    }
}

impl Value for f64 {
    fn form() -> String {
        "a number".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, path: &str, report: &mut Report<'_>) -> Option<Self> {
        let read = number(value.get_ref());
        if read.is_none() {
            wrong_type::<Self>(value.get_ref(), path, report);
        }
        read
    }
}

impl Value for Duration {
    fn form() -> String {
        "a duration (\"500ms\", \"2s\", \"1m\", or a number of seconds)".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, path: &str, report: &mut Report<'_>) -> Option<Self> {
        if let Some(text) = value.get_ref().as_str() {
            let read = humantime::parse_duration(text).ok();
            if read.is_none() {
                report.error(
                    path,
                    format!("{text:?} is not a duration"),
                    "write it as in \"500ms\", \"2s\" or \"1m\", or a number of seconds without quotes",
                );
            }
            return read;
        }
        let Some(seconds) = number(value.get_ref()) else {
            wrong_type::<Self>(value.get_ref(), path, report);
            return None;
        };
        let read = Self::try_from_secs_f64(seconds).ok();
        if read.is_none() {
            report.error(
                path,
                format!("{seconds} s is not a duration"),
                "write a positive number of seconds",
            );
        }
        read
    }
}

impl Value for HeaderValues {
    fn form() -> String {
        "a string or a list of strings".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, path: &str, report: &mut Report<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) => Some(Self(vec![text.to_string()])),
            DeValue::Array(_) => Vec::read(value, path, report).map(Self),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => {
                wrong_type::<Self>(value.get_ref(), path, report);
                None
            }
        }
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|integer| i32::try_from(integer).ok())
            .map(f64::from),
        DeValue::Float(float) => float
            .as_str()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite()),
        DeValue::String(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    }
}
