//! What Home Assistant is told so that it finds the door by itself: one retained message for each entity.
//!
//! Pure. What is not wanted is taken back by an empty message: it may be there from before.

use serde_json::{Value, json};

use super::mirror::{CALL_STATES, Message, Topics};
use crate::config::MqttHook;

/// The messages for all entities of a door. `door`: its channel, shown as its name.
pub(super) fn messages(hook: &MqttHook, topics: &Topics, door: &str) -> Vec<Message> {
    let announce = Announce { hook, topics, door };
    vec![
        // A doorbell without the event type `ring` stops working in Home Assistant 2027.4.
        announce.entity(
            "event",
            "press",
            Some(json!({
                "name": "Doorbell",
                "device_class": "doorbell",
                "event_types": ["ring"],
                "state_topic": topics.press(),
            })),
        ),
        announce.entity(
            "sensor",
            "state",
            Some(json!({
                "name": "Call",
                "device_class": "enum",
                "options": CALL_STATES,
                "icon": "mdi:phone",
                "state_topic": topics.state(),
            })),
        ),
        announce.entity(
            "binary_sensor",
            "problem",
            Some(json!({
                "name": "Problem",
                "device_class": "problem",
                "entity_category": "diagnostic",
                "payload_on": "ON",
                "payload_off": "OFF",
                "state_topic": topics.problem(),
                "json_attributes_topic": topics.parts(),
            })),
        ),
        announce.entity(
            "camera",
            "picture",
            hook.picture.then(|| json!({"name": "Visitor", "topic": topics.picture()})),
        ),
        announce.entity(
            "button",
            "open",
            hook.open.as_ref().map(|payload| {
                json!({
                    "name": "Open the door",
                    "icon": "mdi:door-open",
                    "command_topic": topics.open(),
                    "payload_press": payload.expose(),
                    "qos": 1,
                    "retain": false,
                })
            }),
        ),
    ]
}

struct Announce<'a> {
    hook: &'a MqttHook,
    topics: &'a Topics,
    door: &'a str,
}

impl Announce<'_> {
    fn entity(&self, component: &str, object: &str, config: Option<Value>) -> Message {
        let device = format!("intercomd_{}", self.hook.node);
        let topic = format!("{}/{component}/{device}/{object}/config", self.hook.discovery_prefix);
        let Some(Value::Object(mut config)) = config else {
            return Message::state(topic, "");
        };
        let version = env!("CARGO_PKG_VERSION");
        config.insert("unique_id".to_owned(), json!(format!("{device}_{object}")));
        config.insert("availability_topic".to_owned(), json!(self.topics.availability()));
        config.insert("origin".to_owned(), json!({"name": "intercomd", "sw_version": version}));
        config.insert(
            "device".to_owned(),
            json!({
                "identifiers": [device],
                "name": self.door,
                "manufacturer": "intercomd",
                "model": "Door station",
                "sw_version": version,
            }),
        );
        Message::state(topic, Value::Object(config).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn hook(open: Option<&str>, picture: bool) -> MqttHook {
        MqttHook {
            host: "localhost".to_owned(),
            port: 1883,
            tls: false,
            ca_file: None,
            username: None,
            password: None,
            base: "intercomd".to_owned(),
            discovery_prefix: "homeassistant".to_owned(),
            node: "front".to_owned(),
            picture,
            open: open.map(Secret::new),
        }
    }

    fn announced(hook: &MqttHook) -> Vec<(String, Option<Value>)> {
        let topics = Topics::new(&hook.base, &hook.node);
        let rows = messages(hook, &topics, "haus/tür").into_iter();
        rows.map(|message| {
            assert!(message.retain, "Home Assistant may start later");
            let value = (!message.payload.is_empty())
                .then(|| serde_json::from_slice(&message.payload).expect("it is JSON"));
            (message.topic, value)
        })
        .collect()
    }

    #[test]
    fn every_entity_has_the_keys_it_needs_and_belongs_to_the_same_device() {
        let rows = announced(&hook(Some("OPEN"), true));
        let needed = [
            ("event", "press", ["state_topic", "event_types"]),
            ("sensor", "state", ["state_topic", "options"]),
            ("binary_sensor", "problem", ["state_topic", "device_class"]),
            ("camera", "picture", ["topic", "name"]),
            ("button", "open", ["command_topic", "payload_press"]),
        ];
        assert_eq!(rows.len(), needed.len());
        for ((topic, value), (component, object, keys)) in rows.iter().zip(needed) {
            assert_eq!(
                *topic,
                format!("homeassistant/{component}/intercomd_front/{object}/config")
            );
            let value = value.as_ref().expect("it is wanted");
            for key in keys.iter().chain(&["unique_id", "availability_topic", "origin"]) {
                assert!(!value[key].is_null(), "{topic} lacks {key}");
            }
            assert_eq!(value["unique_id"], format!("intercomd_front_{object}"));
            assert_eq!(value["device"]["identifiers"][0], "intercomd_front");
            assert_eq!(value["device"]["name"], "haus/tür");
            assert_eq!(value["availability_topic"], "intercomd/front/status");
        }
        let ring = &rows[0].1.as_ref().expect("it is wanted")["event_types"];
        assert_eq!(*ring, json!(["ring"]));
    }

    #[test]
    fn what_is_not_wanted_is_taken_back() {
        let rows = announced(&hook(None, false));
        let gone: Vec<_> = rows.iter().filter(|(_, value)| value.is_none()).collect();
        assert_eq!(gone.len(), 2);
        assert!(gone[0].0.contains("/camera/") && gone[1].0.contains("/button/"));
    }
}
