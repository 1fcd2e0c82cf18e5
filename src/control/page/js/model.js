// What is known: the last answer, and what two answers that follow one another say about the time between.

const WINDOW_MS = 60_000;
const KEPT_MS = 180_000;
const KINDS = ["first_byte", "response", "connect"];

const bytes = (both) => both.copied + both.spliced;
const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);
const keyOf = ({ pool, name }) => `${pool}\n${name}`;
const fullName = ({ pool, name }) => `${pool}/${name}`;

/** What is followed of one backend. */
class Track {
  constructor() {
    this.windows = Object.fromEntries(KINDS.map((kind) => [kind, new Window(WINDOW_MS)]));
    this.slices = [];
    this.rates = null;
  }

  follow(now, before, time, seconds) {
    const perSecond = (of) => Math.max(0, of(now) - of(before)) / seconds;
    this.rates = {
      connected: perSecond((one) => one.connected),
      failed: perSecond((one) => one.failed),
      toBackend: perSecond((one) => bytes(one.to_backend)),
      toClients: perSecond((one) => bytes(one.to_clients)),
    };
    const slice = { time };
    for (const kind of KINDS) {
      slice[kind] = difference(now[kind].buckets, before[kind].buckets);
      this.windows[kind].add(time, slice[kind]);
    }
    this.slices.push(slice);
    while (this.slices[0].time < time - KEPT_MS) this.slices.shift();
  }

  percentile(kind, part, bounds) {
    return this.windows[kind].percentile(part, bounds);
  }
}

class Model {
  constructor() {
    this.status = null;
    this.forget();
  }

  /** Totals begin anew when the program does. */
  forget() {
    this.tracks = new Map();
    this.samples = [];
    this.shardRates = [];
    this.listenerRates = new Map();
    this.rates = null;
  }

  take(status) {
    const before = this.status;
    this.status = status;
    if (before && (before.pid !== status.pid || before.uptime_seconds > status.uptime_seconds)) this.forget();
    else if (before && status.time_ms > before.time_ms) this.follow(status, before);
  }

  follow(now, before) {
    const seconds = (now.time_ms - before.time_ms) / 1000;
    this.followBackends(now, before, seconds);
    this.followShards(now, before, seconds);
    const accepted = new Map(before.listeners.map((one) => [one.address, one.accepted]));
    this.listenerRates = new Map(now.listeners.filter(({ address }) => accepted.has(address))
      .map(({ address, accepted: total }) => [address, Math.max(0, total - accepted.get(address)) / seconds]));
    this.sample(now, before, seconds);
  }

  followBackends(now, before, seconds) {
    const earlier = new Map(before.backends.map((one) => [keyOf(one), one]));
    const tracks = new Map();
    for (const backend of now.backends) {
      const key = keyOf(backend);
      const track = this.tracks.get(key) ?? new Track();
      if (earlier.has(key)) track.follow(backend, earlier.get(key), now.time_ms, seconds);
      tracks.set(key, track);
    }
    this.tracks = tracks;
  }

  followShards(now, before, seconds) {
    const earlier = new Map(before.shards.map((one) => [one.index, one]));
    this.shardRates = now.shards.map((shard) => {
      const was = earlier.get(shard.index);
      if (!was) return null;
      return {
        cpu: Math.max(0, shard.cpu_ms - was.cpu_ms) / 1000 / seconds,
        accepted: Math.max(0, shard.accepted - was.accepted) / seconds,
        moved: Math.max(0, shard.handed_over - was.handed_over) / seconds,
      };
    });
  }

  sample(now, before, seconds) {
    const perSecond = (of) => Math.max(0, of(now) - of(before)) / seconds;
    const shards = (of) => (status) => sum(status.shards, of);
    const spliced = perSecond(shards((one) => one.to_backend.spliced + one.to_clients.spliced));
    this.rates = {
      accepted: perSecond(shards((one) => one.accepted)),
      toBackend: perSecond(shards((one) => bytes(one.to_backend))),
      toClients: perSecond(shards((one) => bytes(one.to_clients))),
      failed: perSecond((status) => sum(status.pools, (pool) => pool.failed)),
    };
    const moved = this.rates.toBackend + this.rates.toClients;
    this.rates.spliced = moved > 0 ? spliced / moved : null;
    this.samples.push({
      time: now.time_ms,
      ...this.rates,
      connections: new Map(now.backends.map((one) => [keyOf(one), one.connections])),
    });
    while (this.samples[0].time < now.time_ms - KEPT_MS) this.samples.shift();
  }

  track(backend) {
    return this.tracks.get(keyOf(backend)) ?? new Track();
  }

  /** Of all backends together, over the window. */
  percentile(kind, part) {
    const counts = [];
    let total = 0;
    for (const { windows } of this.tracks.values()) {
      total += windows[kind].total;
      windows[kind].counts.forEach((here, at) => { counts[at] = (counts[at] ?? 0) + here; });
    }
    return percentile(counts, total, part, this.status.bounds_us);
  }
}
