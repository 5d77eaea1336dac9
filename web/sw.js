// The part of the page that a push service wakes while the page sleeps or is closed: says that somebody is at the door,
// and opens the page at a tap. What it needs to know of a door the page leaves in a cache (wake.js).

const KEPT = "intercom-wake";
const VIBRATE = [400, 200, 400, 200, 400];

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => event.waitUntil(told(event.data)));

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.door));
});

async function told(data) {
  const news = read(data);
  const door = await known(news.door);
  const words = door?.words ?? {};
  // Shown whatever page is open: one in front may not have been tapped yet, or have lost its line.
  const rings = news.event === "ring";
  const body = { ring: words.ring, answered: news.name ? words.answeredBy?.replace("{name}", news.name) : words.answered, missed: words.missed }[news.event];
  await self.registration.showNotification(door?.name ?? news.door ?? "intercomd", {
    body: body ?? words.ring ?? "🔔",
    // What became of a ring takes its place.
    tag: news.call ?? "door",
    renotify: rings,
    requireInteraction: rings,
    silent: !rings,
    vibrate: rings ? VIBRATE : undefined,
    icon: "icons/icon-192.png",
    data: { door: news.door },
  });
}

// Whatever comes is shown: a push that shows nothing costs the page its right to be woken.
function read(data) {
  try {
    const news = data.json();
    return news?.intercomd === 1 ? { event: news.event, door: news.door, call: news.call, name: typeof news.name === "string" ? news.name : "" } : {};
  } catch {
    return {};
  }
}

async function known(channel) {
  const kept = await (await caches.open(KEPT)).match(`./wake/${encodeURIComponent(channel ?? "")}`);
  return kept ? kept.json() : null;
}

async function open(channel) {
  const door = await known(channel);
  const windows = await self.clients.matchAll({ type: "window" });
  const there = windows.find(({ url }) => isOf(url, door));
  if (there) return there.focus();
  return self.clients.openWindow(door ? `./#${door.fragment}&wake=1` : "./");
}

// An installed page may have lost its fragment.
function isOf(url, door) {
  const { hash } = new URL(url);
  return hash === "" || (door !== null && new URLSearchParams(hash.slice(1)).get("channel") === door.channel);
}
