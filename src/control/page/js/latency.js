// Distributions. The server tells totals since it began; what happened between two polls is the difference
// of their buckets, and a window is the sum of such differences.

/** What came to lie in each bucket since `before`, as [bucket, count] pairs; most are empty. */
function difference(now, before) {
  const came = [];
  for (let at = 0; at < now.length; at += 1) {
    const more = now[at] - (before[at] ?? 0);
    if (more > 0) came.push([at, more]);
  }
  return came;
}

/** Counts by bucket over the last of the slices that were added. */
class Window {
  constructor(lengthMs) {
    this.lengthMs = lengthMs;
    this.slices = [];
    this.counts = [];
    this.total = 0;
  }

  add(time, came) {
    this.slices.push([time, came]);
    this.apply(came, 1);
    while (this.slices[0][0] <= time - this.lengthMs) this.apply(this.slices.shift()[1], -1);
  }

  apply(came, sign) {
    for (const [at, more] of came) {
      this.counts[at] = (this.counts[at] ?? 0) + sign * more;
      this.total += sign * more;
    }
  }

  /** In microseconds; `null` without any value. */
  percentile(part, bounds) {
    return percentile(this.counts, this.total, part, bounds);
  }
}

/** The bucket that the value lies in, and by how much of the bucket's count it lies below. */
function percentile(counts, total, part, bounds) {
  if (total <= 0) return null;
  const rank = Math.max(1, part * total);
  let seen = 0;
  for (let at = 0; at < counts.length; at += 1) {
    const here = counts[at] ?? 0;
    if (here > 0 && seen + here >= rank) {
      const [low, high] = edges(at, bounds);
      return low + ((high - low) * (rank - seen)) / here;
    }
    seen += here;
  }
  return null;
}

/** The last bucket has no upper bound; it is drawn as if it were as wide as all below it. */
function edges(at, bounds) {
  const low = at === 0 ? 0 : bounds[at - 1];
  return [low, at < bounds.length ? bounds[at] : low * 2];
}
