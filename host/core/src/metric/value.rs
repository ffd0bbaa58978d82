//! One number of a series. Integers stay integers: `f64` holds byte counters exactly only up to 2^53.

use crate::batch::Values;
use std::{cmp::Ordering, fmt};

/// The value of a counter or gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    U64(u64),
    S64(i64),
    F64(f64),
}

impl Value {
    pub const ZERO: Value = Value::U64(0);

    /// The number at `row`; none in columns of anything else.
    pub fn of(values: &Values, row: usize) -> Option<Value> {
        match values {
            Values::U32(v) => v.get(row).map(|&value| value.into()),
            Values::U64(v) => v.get(row).map(|&value| value.into()),
            Values::S64(v) => v.get(row).map(|&value| value.into()),
            Values::F64(v) => v.get(row).map(|&value| value.into()),
            Values::Address(_) | Values::Code { .. } | Values::Blob { .. } => None,
        }
    }

    /// The nearest `f64`, which is what Prometheus keeps.
    pub fn as_f64(self) -> f64 {
        match self {
            Value::U64(value) => value as f64,
            Value::S64(value) => value as f64,
            Value::F64(value) => value,
        }
    }

    /// Adds to a counter: exactly in `u64` until a float or a negative number is added, in `f64` from then on.
    ///
    /// A counter saturates, at `u64::MAX` or `f64::MAX`. The kernel's wrap; but to Prometheus a smaller value is a restart of the source,
    /// and it could not see the single steps of a value that large anyway.
    pub fn add(&mut self, increase: Value) {
        *self = match (*self, increase) {
            (Value::U64(sum), Value::U64(increase)) => Value::U64(sum.saturating_add(increase)),
            (sum, increase) => Value::F64((sum.as_f64() + increase.as_f64()).clamp(f64::MIN, f64::MAX)),
        };
    }

    /// What a running total has grown by since `last`. A smaller one is a new start of its source, all of it new.
    pub fn since(self, last: Value) -> Value {
        match (self, last) {
            (Value::U64(total), Value::U64(last)) => Value::U64(total.checked_sub(last).unwrap_or(total)),
            (total, last) => match total.as_f64().partial_cmp(&last.as_f64()) {
                Some(Ordering::Less) | None => total,
                Some(_) => Value::F64(total.as_f64() - last.as_f64()),
            },
        }
    }

    /// Appends the value in the form that all formats take: `12`, `0.5`, `1e-7`, `+Inf`, `NaN`.
    pub fn write(self, page: &mut Vec<u8>) {
        match self {
            Value::U64(value) => page.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Value::S64(value) => page.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Value::F64(value) if value.is_finite() => {
                page.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
            }
            Value::F64(value) if value.is_nan() => page.extend_from_slice(b"NaN"),
            Value::F64(value) => page.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" }),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::U64(value) => value.fmt(f),
            Value::S64(value) => value.fmt(f),
            Value::F64(value) => value.fmt(f),
        }
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::U64(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::U64(value.into())
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::U64(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::U64(value.into())
    }
}

/// Not negative ones become `U64`, so that a kernel's signed counter stays exact.
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        u64::try_from(value).map_or(Value::S64(value), Value::U64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::F64(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: impl Into<Value>) -> String {
        let mut page = Vec::new();
        value.into().write(&mut page);
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn every_value_has_the_form_that_prometheus_reads() {
        for (value, want) in [
            (Value::from(u64::MAX), "18446744073709551615"),
            (Value::from(-5i64), "-5"),
            (Value::from(0.0), "0.0"),
            (Value::from(1.5e-7), "1.5e-7"),
            (Value::from(1e300), "1e300"),
            (Value::from(f64::INFINITY), "+Inf"),
            (Value::from(f64::NEG_INFINITY), "-Inf"),
            (Value::from(f64::NAN), "NaN"),
        ] {
            assert_eq!(text(value), want);
        }
    }

    #[test]
    fn integers_add_exactly_and_saturate() {
        let mut counter = Value::U64(1 << 60);
        counter.add(Value::U64(1));
        assert_eq!(counter, Value::U64((1 << 60) + 1));
        counter.add(Value::U64(u64::MAX));
        assert_eq!(counter, Value::U64(u64::MAX));
        counter.add(Value::F64(0.5));
        assert_eq!(counter, Value::F64(u64::MAX as f64));
        let mut large = Value::F64(f64::MAX);
        large.add(Value::F64(f64::MAX));
        assert_eq!(large, Value::F64(f64::MAX));
    }

    #[test]
    fn rule_10_a_smaller_total_is_a_new_start() {
        for (total, last, want) in [
            (Value::U64(7), Value::U64(5), Value::U64(2)),
            (Value::U64(5), Value::U64(7), Value::U64(5)),
            (Value::F64(2.5), Value::U64(2), Value::F64(0.5)),
            (Value::F64(1.0), Value::F64(2.0), Value::F64(1.0)),
        ] {
            assert_eq!(total.since(last), want, "{total:?} after {last:?}");
        }
    }
}
