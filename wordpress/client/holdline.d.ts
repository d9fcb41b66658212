/**
 * Holdline's browser client: one connection per browser, over the best transport
 * that gets through, resumed by its cursor so that no event is lost or told twice.
 *
 * ```html
 * <script src="/holdline/v1/client.js"></script>
 * <script>
 *   const line = new Holdline({ url: "/holdline/v1", channels: ["wplc/42"] });
 *   line.on("message", (e) => { log.append(Object.assign(document.createElement("li"), { textContent: e.body })); });
 * </script>
 * ```
 *
 * or `import { Holdline } from "./holdline.mjs"`. Bodies are text, never HTML: the
 * client does not touch the page, and who writes a body into it uses `textContent`.
 */
export class Holdline {
  /** Begins at once; what it says comes later than the constructor's return. */
  constructor(options: Options);

  /**
   * The script that a SharedWorker is started from. It is known by itself for a
   * classic `<script>` and for holdline.mjs; a bundler's user sets it, on the
   * page's own origin.
   */
  static script?: string;

  /** `waiting` means that it tries again after a pause; `refused` that it does not. */
  readonly state: State["state"];
  /** `""` while the line is not open. */
  readonly transport: State["transport"];

  /** Events of the server go by their type; types of later servers as well. */
  on(type: "message", fn: (event: Message) => void): this;
  on(type: "status", fn: (event: ServerEvent) => void): this;
  /** The cursor no longer means anything: fetch the chat's history again. */
  on(type: "reset", fn: (event: ServerEvent) => void): this;
  on(type: "state", fn: (state: State) => void): this;
  /** The server's own refusal. The line does not ask again by itself. */
  on(type: "error", fn: (error: Refusal) => void): this;
  on(type: string, fn: (event: ServerEvent) => void): this;
  /** Takes one listener away, or all of a type. */
  off(type: string, fn?: Function): this;

  /**
   * Reads one channel more, from the present on or from a cursor. A channel that
   * may not be read ends in an `error` that names it; the others go on.
   */
  subscribe(channel: string, cursor?: string): this;
  unsubscribe(channel: string): this;

  /** Round trip to the server over the line, in milliseconds. */
  latency(): Promise<number>;

  /** Leaves for good. Other tabs keep their line. */
  close(): void;
}

export default Holdline;

export interface Options {
  /** Where the gateway is: "/holdline/v1", or an address on another origin. */
  url: string;
  channels?: string[];
  /** A token, where cookies do not tell who this is. */
  token?: string;
  /**
   * Gets a fresh token. It is asked at the start if there is no `token`, and once
   * whenever the server refuses the one in use. Only one tab is asked.
   */
  getToken?: () => string | Promise<string>;
  /**
   * Where to begin: the cursor of the history that the page shows already, "0" for
   * everything there is. Left out, the line begins at the present.
   */
  cursor?: string;
  /** false: a connection of its own, not shared with other tabs. */
  share?: boolean;
  /** Address of the worker's script (see `Holdline.script`); "" for no worker. */
  worker?: string;
}

export interface ServerEvent {
  type: string;
  channel: string;
  /** Where a client stands that has this event; none for what is not stored. */
  cursor?: string;
  /** Row id within the channel's source. */
  id?: number;
  from?: { kind: "visitor" | "agent" | "system"; id?: number; name?: string };
  /** Text, not HTML. */
  body?: string;
  /** RFC 3339. */
  sent_at?: string;
  /** What the chat plugin adds. */
  data?: Record<string, unknown>;
}

export interface Message extends ServerEvent {
  type: "message";
  id: number;
}

export interface State {
  state: "connecting" | "open" | "waiting" | "refused" | "closed";
  transport: "" | "ws" | "sse" | "poll" | "short";
  /** Who holds the line: a worker, this tab for all (leader), another (follower), or each tab its own (tab). */
  role?: "worker" | "leader" | "follower" | "tab";
  /** ms until the next try, while waiting. */
  wait?: number;
  /** What went wrong, in words for a log. */
  why?: string;
}

export interface Refusal {
  /** The server's sentence. */
  message: string;
  /** HTTP status or WebSocket close code; 0 when getToken failed. */
  status: number;
  /** The server's word for programs, such as "token" or "channel". */
  reason: string;
  /** The channels that are given up; left out when it is the whole line. */
  channels?: string[];
}

declare global {
  interface Window {
    Holdline: typeof Holdline;
  }
}
