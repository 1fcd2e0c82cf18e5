//! The report for programs.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::plan::Workload;
use super::report::Report;
use crate::histogram::percentiles;

impl Report {
    /// The report as JSON: `totals`, `latency_ns`, `connect_ns` (conn only), `backends`,
    /// `generator`, `config`. A percentile with fewer than ten samples beyond it is null.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let backends: Vec<Value> = self
            .shares()
            .iter()
            .map(|one| json!({"name": one.name, "responses": one.responses, "share": one.share}))
            .collect();
        let mut json = json!({
            "config": self.config(),
            "totals": {
                "requests": self.requests,
                "late": self.late,
                "errors": self.errors,
                "elapsed_s": self.elapsed.as_secs_f64(),
                "requests_per_s": self.requests_per_s(),
                "stopped": self.stopped,
            },
            "latency_ns": latency(&self.latency),
            "backends": backends,
            "generator": {
                "cpu_s": self.cpu.as_secs_f64(),
                "threads": self.plan.workers(),
            },
        });
        if let Some(connect) = &self.connect {
            json["connect_ns"] = latency(connect);
        }
        json
    }

    fn config(&self) -> Value {
        let plan = &self.plan;
        let workload = match plan.workload {
            Workload::Ping => "ping",
            Workload::Conn => "conn",
        };
        json!({
            "workload": workload,
            "target": plan.address.to_string(),
            "connections": plan.connections,
            "threads": plan.workers(),
            "duration_s": plan.duration.as_secs_f64(),
            "warm_up_s": plan.warm_up.as_secs_f64(),
            "requests": plan.requests,
            "rate_per_s": plan.rate,
            "request_bytes": plan.request_bytes,
            "timeout_s": plan.timeout.as_secs_f64(),
        })
    }
}

fn latency(histogram: &Histogram<u64>) -> Value {
    let mut json = Map::new();
    json.insert("count".to_owned(), histogram.len().into());
    json.insert("mean".to_owned(), histogram.mean().into());
    for one in percentiles(histogram) {
        let value = one.value.and_then(|value| u64::try_from(value.as_nanos()).ok());
        json.insert(one.name.replace('.', "_"), value.into());
    }
    Value::Object(json)
}
