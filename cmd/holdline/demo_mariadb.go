package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"

	"holdline/config"
	"holdline/internal/chat"
	"holdline/internal/mariadb"
	"holdline/testdata/schema"
)

// mariadbDesk writes to a private MariaDB as root, on connections of its own;
// Holdline reads there as a user who may only SELECT.
type mariadbDesk struct {
	dir    string
	server *mariadb.Server
	root   *sql.DB
	book   *ledger
}

const (
	demoDatabase = "wordpress"
	demoReader   = "holdline"
)

// openMariaDB starts a server in a new folder, makes a site with one chat in it
// and points the configuration there.
func openMariaDB(ctx context.Context, cfg *config.Config, book *ledger) (_ *desk, err error) {
	m := &mariadbDesk{book: book}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	if m.dir, err = shortFolder(); err != nil {
		return nil, err
	}
	// The data are thrown away, so the disk's pace need not be waited for.
	// userstat makes the server count the queries of each user.
	m.server, err = mariadb.Start(ctx, m.dir, "--innodb-flush-log-at-trx-commit=2", "--userstat=ON")
	if err != nil {
		return nil, err
	}
	password := rand.Text()
	if err := m.fill(ctx, password); err != nil {
		return nil, fmt.Errorf("make the demo's site: %w", err)
	}
	cfg.Database.Address, cfg.Database.Name = m.server.Socket(), demoDatabase
	cfg.Database.User, cfg.Database.Password = demoReader, config.NewSecret(password)
	cfg.Database.TablePrefix, cfg.Database.TLS = "wp_", "off"
	return &desk{
		writer: m, book: book, kind: "mariadb", settle: m.settle, close: m.close,
		notice: "The chat is in a private MariaDB under " + m.dir + ". Holdline reads it as a user with SELECT alone;\n" +
			"the page's messages are INSERTed over another connection.",
		byHand: m.byHand(),
	}, nil
}

// shortFolder makes a folder whose path leaves room for a unix socket's: 108
// bytes in all on Linux, 104 on macOS.
func shortFolder() (string, error) {
	dir := os.TempDir()
	if len(dir) > 60 {
		dir = "/tmp"
	}
	return os.MkdirTemp(dir, "hl")
}

// openChat is the demo's session, as wplc_user_initiate_chat stores one.
const openChat = `INSERT INTO wp_wplc_chat_sessions
	(id, timestamp, name, email, ip, status, session, url, last_active_timestamp, agent_id, other, rel)
	VALUES (?, UTC_TIMESTAMP(), ?, 'ann@example.com', '', ?, '1', '/', UTC_TIMESTAMP(), 0, '', '')`

func (m *mariadbDesk) fill(ctx context.Context, password string) error {
	err := m.server.Exec(ctx, "", "CREATE DATABASE "+demoDatabase+" CHARACTER SET utf8mb4")
	if err != nil {
		return err
	}
	if m.root, err = m.server.Open(demoDatabase); err != nil {
		return err
	}
	for _, statements := range []string{
		schema.WordPress,
		schema.WPLC8,
		// The plugin makes tables that cannot hold an emoji; people will try one.
		`ALTER TABLE wp_wplc_chat_msgs CONVERT TO CHARACTER SET utf8mb4`,
		`INSERT INTO wp_options (option_name, option_value) VALUES ('timezone_string', 'UTC'), ('gmt_offset', '0')`,
		fmt.Sprintf(`CREATE USER '%[1]s'@'localhost' IDENTIFIED BY '%[2]s'; GRANT SELECT ON %[3]s.* TO '%[1]s'@'localhost'`,
			demoReader, password, demoDatabase),
	} {
		if _, err := m.root.ExecContext(ctx, statements); err != nil {
			return err
		}
	}
	if _, err := m.root.ExecContext(ctx, openChat, demoChat, demoVisitor, chatPending); err != nil {
		return err
	}
	// Whom the plugin takes for an agent (functions.php, wplc_user_is_agent).
	_, err = m.root.ExecContext(ctx, `INSERT INTO wp_users (ID, user_login, user_pass, user_nicename, display_name) VALUES (?, ?, '!', ?, ?)`,
		demoAgentUser, demoAgent, demoAgent, demoAgent)
	if err != nil {
		return err
	}
	_, err = m.root.ExecContext(ctx, `INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (?, 'wplc_ma_agent', '1')`, demoAgentUser)
	if err != nil {
		return err
	}
	_, err = m.root.ExecContext(ctx, insertMessage, demoChat, "System notification",
		"User is browsing the demo", originates[saidForAgents], "", "")
	return err
}

// settle stores the site's address, by which the gateway knows its origin.
func (m *mariadbDesk) settle(ctx context.Context, url string) error {
	_, err := m.root.ExecContext(ctx, `INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl', ?), ('home', ?)`, url, url)
	if err != nil {
		return fmt.Errorf("store the site's address: %w", err)
	}
	return nil
}

// saidForAgents is a note that only agents see.
const saidForAgents = "agents"

// originates is the column by which the plugin tells writers apart
// (functions.php:1222).
var originates = map[string]int{chat.KindSystem: 0, chat.KindAgent: 1, chat.KindVisitor: 2, saidForAgents: 3}

const insertMessage = `INSERT INTO wp_wplc_chat_msgs
	(chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
	VALUES (?, ?, ?, UTC_TIMESTAMP(), 0, ?, ?, ?, 0, 0)`

// say implements writer.
func (m *mariadbDesk) say(ctx context.Context, s saying) (receipt, error) {
	return m.commit(ctx, s, func(*sql.Tx) error { return nil })
}

// move implements writer.
func (m *mariadbDesk) move(ctx context.Context, status int, note saying) (receipt, error) {
	agent := 0
	if status != chatPending {
		agent = 1
	}
	return m.commit(ctx, note, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE wp_wplc_chat_sessions
			SET status = ?, agent_id = ?, last_active_timestamp = UTC_TIMESTAMP() WHERE id = ?`, status, agent, demoChat)
		return err
	})
}

// commit stores a message, and what else belongs to it, in one transaction.
func (m *mariadbDesk) commit(ctx context.Context, s saying, also func(*sql.Tx) error) (r receipt, err error) {
	tx, err := m.root.BeginTx(ctx, nil)
	if err != nil {
		return r, fmt.Errorf("store a message: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a COMMIT it has nothing to do
	if err := also(tx); err != nil {
		return r, fmt.Errorf("store a message: %w", err)
	}
	from, text, other := columns(s)
	result, err := tx.ExecContext(ctx, insertMessage, demoChat, from, text, originates[s.who], other, s.clientID)
	if err != nil {
		return r, fmt.Errorf("store a message: %w", err)
	}
	id, err := result.LastInsertId()
	if err != nil {
		return r, fmt.Errorf("store a message: %w", err)
	}
	r = newReceipt(id, s.rung)
	m.book.enter(r)
	if err := tx.Commit(); err != nil {
		m.book.strike(r)
		return r, fmt.Errorf("commit a message: %w", err)
	}
	return r, nil
}

// find implements writer.
func (m *mariadbDesk) find(ctx context.Context, who, clientID string, after int64) (id int64, err error) {
	err = m.root.QueryRowContext(ctx, `SELECT id FROM wp_wplc_chat_msgs
		WHERE id > ? AND chat_sess_id = ? AND rel = ? AND originates = ? ORDER BY id LIMIT 1`,
		after, demoChat, clientID, originates[who]).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// chatStatus implements writer.
func (m *mariadbDesk) chatStatus(ctx context.Context) (status int, err error) {
	err = m.root.QueryRowContext(ctx, `SELECT status FROM wp_wplc_chat_sessions WHERE id = ?`, demoChat).Scan(&status)
	return status, err
}

// columns are msgfrom, msg and other as the plugin would store them. Its loops
// take slashes off twice, so a backslash that shall be seen is stored as four.
func columns(s saying) (from, text, other string) {
	if s.who == chat.KindSystem {
		return "System notification", s.text, ""
	}
	text = strings.ReplaceAll(s.text, `\`, `\\\\`)
	if s.who == chat.KindAgent {
		return demoAgent, text, `a:1:{s:3:"aid";i:1;}`
	}
	return demoVisitor, text, ""
}

// queries implements writer. The server counts by user, so what the demo itself
// asks is not in it.
func (m *mariadbDesk) queries(ctx context.Context) (n int64, err error) {
	err = m.root.QueryRowContext(ctx, `SELECT IFNULL(SUM(SELECT_COMMANDS + UPDATE_COMMANDS + OTHER_COMMANDS), 0)
		FROM information_schema.USER_STATISTICS WHERE USER = ?`, demoReader).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("read the database's counters: %w", err)
	}
	return n, nil
}

func (m *mariadbDesk) byHand() string {
	return fmt.Sprintf(`mariadb --no-defaults -u root -S %s %s -e "INSERT INTO wp_wplc_chat_msgs`+
		` (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)`+
		` VALUES (%d, '%s', 'Hello by hand', UTC_TIMESTAMP(), 0, 2, '', '', 0, 0)"`,
		m.server.Socket(), demoDatabase, demoChat, demoVisitor)
}

// close ends the server and removes its folder. It is for a desk in any state.
func (m *mariadbDesk) close() error {
	var errs []error
	if m.root != nil {
		errs = append(errs, m.root.Close())
	}
	if m.server != nil {
		errs = append(errs, m.server.Stop())
	}
	if m.dir != "" {
		errs = append(errs, os.RemoveAll(m.dir))
	}
	return errors.Join(errs...)
}
