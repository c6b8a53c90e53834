import { readFileSync, readdirSync } from 'node:fs';
import process from 'node:process';

/** @import { Registry } from './registry.js' */

/** The metrics of this process, with the names and meanings of Prometheus' client libraries. */
export class ProcessMetrics {
  #cpu;
  #cpuSeen = 0;
  #resident;
  #virtual;
  #openFds;

  /** @param {Registry} registry */
  constructor(registry) {
    this.#cpu = registry.counter('process_cpu_seconds_total', 'User and system CPU time spent in seconds.');
    this.#resident = registry.gauge('process_resident_memory_bytes', 'Resident memory size in bytes.');
    this.#virtual = registry.gauge('process_virtual_memory_bytes', 'Virtual memory size in bytes.');
    this.#openFds = registry.gauge('process_open_fds', 'Number of open file descriptors.');
    registry
      .gauge('process_start_time_seconds', 'Start time of the process since the Unix epoch in seconds.')
      .set(Date.now() / 1000 - process.uptime());
    const max = field('limits', /^Max open files +([0-9]+)/m);
    if (max !== undefined) {
      registry.gauge('process_max_fds', 'Maximum number of open file descriptors.').set(max);
    }
  }

  /** Reads the current values. */
  refresh() {
    const { user, system } = process.cpuUsage();
    const cpu = (user + system) / 1e6;
    this.#cpu.add(cpu - this.#cpuSeen);
    this.#cpuSeen = cpu;
    this.#resident.set(process.memoryUsage.rss());
    const virtual = field('status', /^VmSize:\s+([0-9]+) kB/m);
    if (virtual !== undefined) {
      this.#virtual.set(virtual * 1024);
    }
    try {
      // One of them is the directory being read.
      this.#openFds.set(readdirSync('/proc/self/fd').length - 1);
    } catch {
      // A system without /proc lacks this metric.
    }
  }
}

/**
 * Returns a number in a file of `/proc/self`, or `undefined` if it is missing.
 *
 * @param {string} name
 * @param {RegExp} pattern
 * @returns {number | undefined}
 */
function field(name, pattern) {
  try {
    const found = pattern.exec(readFileSync(`/proc/self/${name}`, 'latin1'))?.[1];
    return found === undefined ? undefined : Number(found);
  } catch {
    return undefined;
  }
}
