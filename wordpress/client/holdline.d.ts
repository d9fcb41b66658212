/**
 * Holdline's browser client: one connection per browser, over the best transport
 * that gets through, resumed by its cursor so that no event is lost or told twice.
 *
 * ```html
 * <script src="/holdline/v1/client.js"></script>
 * <script>
 *   const line = new Holdline({ url: "/holdline/v1", channels: ["wplc/42"] });
 *   line.on("message", (e) => { log.append(Object.assign(document.createElement("li"), { textContent: e.body })); });
 *   form.onsubmit = () => { line.send("wplc/42", input.value); return false; };
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
  readonly role: State["role"];
  /** Those that are read. */
  readonly channels: readonly string[];

  /**
   * Events of the server go by their type; types of later servers as well. Each is
   * told once, whatever comes how often over which line.
   */
  on(type: "message", fn: (event: Message) => void): this;
  /** A message that was told as pending is stored: it now has an id. It is not a second one. */
  on(type: "stored", fn: (event: Message) => void): this;
  /** A message that was told as pending will never be stored. */
  on(type: "withdrawn", fn: (event: ServerEvent & { data?: { reason?: string; text?: string } }) => void): this;
  /** A message of ours is pending for longer than it should. */
  on(type: "delayed", fn: (event: ServerEvent & { data?: { reason?: string; retry_ms?: number } }) => void): this;
  /** Somebody else is typing, or not any more: told at the latest when it has expired or a message of theirs comes. */
  on(type: "typing", fn: (event: ServerEvent & { data: { typing: boolean } }) => void): this;
  /** Who is there, whole, and who has left when. */
  on(type: "presence", fn: (event: ServerEvent & { data?: { present?: Party[]; left?: (Party & { at: string })[] } }) => void): this;
  /** How far `from` has been told, or has read. */
  on(type: "delivered" | "seen", fn: (event: ServerEvent & { data: { up_to: number } }) => void): this;
  /** Something for us alone, such as an offer of a call. */
  on(type: "signal", fn: (event: ServerEvent & { data?: { to?: Party; payload?: unknown } }) => void): this;
  /** What has become of a send, of this tab or of another of this browser. */
  on(type: "sent", fn: (send: Send) => void): this;
  /** An agent joins, leaves, the chat ends; whole, and again only when it changes. */
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

  /**
   * Says something on a channel that is read; returns the id under which `sent` and
   * the message itself will tell of it. It is queued, kept over reloads (up to 200,
   * 65,536 characters each) and sent in order, once, as soon as there is a line: by
   * whoever holds it. `as` speaks otherwise than the line does.
   */
  send(channel: string, body: string, options?: { as?: "visitor" | "agent" }): string;
  /**
   * The sends that are pending, and those that have failed since the page was opened;
   * for a page that comes back. It waits until it is known what was kept.
   */
  sends(): Promise<Send[]>;
  /** Sends once more what has failed, behind what was said since. */
  retry(client_id: string): this;
  /** Gives up what is pending or has failed. What is on its way may come all the same. */
  drop(client_id: string): this;

  /** Call it for each key: it is said every 2 s at most. `false` says that it is over; send() needs no such word. */
  typing(channel: string, on?: boolean): this;
  /**
   * Everything up to a row id has been read. That it was delivered is told by itself.
   * Without a line it waits for one.
   */
  seen(channel: string, id: number): this;
  /** Hands any JSON value to one party, if there is a line. It may get lost. */
  signal(channel: string, to: Pick<Party, "kind" | "id">, payload: unknown): this;

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
  /** As whom we listen and speak; "visitor" if left out. */
  as?: "visitor" | "agent";
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
  from?: Party;
  /** Text, not HTML. */
  body?: string;
  /** RFC 3339. */
  sent_at?: string;
  /** The id that its sender's client gave it; with `channel` and `from.kind` it ties pending, stored and withdrawn together. */
  client_id?: string;
  /** What the chat plugin adds. */
  data?: Record<string, unknown>;
}

export interface Message extends ServerEvent {
  type: "message" | "stored";
  /** Accepted and shown, not stored yet: it has no id and no cursor. */
  pending?: boolean;
}

export interface Party {
  kind: "visitor" | "agent" | "system";
  /** WordPress user id. */
  id?: number;
  name?: string;
}

export interface Send {
  client_id: string;
  channel: string;
  body: string;
  as?: "visitor" | "agent";
  /** When it was said, or tried again; ms since 1970, and no other of this tab has the same. */
  at: number;
  /**
   * `pending` at once, also without a network; `stored` when it has an id; `delivered`
   * and `seen` by the other side; `failed` for good, with a reason; `dropped` by drop().
   */
  state: "pending" | "stored" | "delivered" | "seen" | "failed" | "dropped";
  /** Row id. */
  id?: number;
  /** The server's word for programs, such as "closed" or "too_long"; "full" when too much waits here. */
  reason?: string;
  /** The server's sentence. */
  error?: string;
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
