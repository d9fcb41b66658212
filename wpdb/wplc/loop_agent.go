package wplc

import "context"

// securityIssue is what the plugin tells somebody who is no agent.
const securityIssue = `{"chat_message":"security issue","action":"wplc_new_chat_message"}`

// agent8 is one round of wplc_admin_long_poll_chat in 8.x (ajax_new.php:141-156,
// wp-live-chat-support.php:4807-4846).
func (r *round) agent8(ctx context.Context) error {
	agent, err := r.isAgent(ctx)
	if err != nil {
		return err
	}
	if !agent {
		// PHP keeps only new messages from other users, and shows them the history
		// and the status; that is a hole and not kept up.
		r.say([]byte(securityIssue))
		return nil
	}
	row, err := r.chat(ctx)
	if err != nil {
		return err
	}
	switch {
	case r.l.form.opened:
		r.checkOpened(row)
		return nil
	case r.l.form.first:
		return r.agentHistory8(ctx, row)
	}
	var array phpArray
	r.agentStatus(&array, row)
	rows, err := r.unread(ctx, row.highest, true, fromVisitor, noteForAgents)
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		r.deliver(rows)
		array.set("chat_message", r.s.newMessages(rows))
		array.set("action", jsonText("wplc_new_chat_message"))
	}
	if len(array) > 0 {
		r.say(array.json())
	}
	return nil
}

// checkOpened is for the page on which an agent waits for an invited visitor.
func (r *round) checkOpened(row chatRow) {
	if row.exists && row.status == statusActive {
		r.say([]byte(`{"action":"wplc_user_open_chat"}`))
	}
}

func (r *round) agentStatus(array *phpArray, row chatRow) {
	if !row.equals(r.l.form.status) {
		array.set("chat_status", row.statusJSON())
		array.set("action", jsonText("wplc_update_chat_status"))
	}
}

// agentHistory8 answers a page that was just loaded. PHP tells a chat without
// messages (null) from one whose messages are all for others (an empty array).
func (r *round) agentHistory8(ctx context.Context, row chatRow) error {
	rows, err := r.history(ctx, row.highest, history8, fromVisitor, noteForAgents)
	if err != nil {
		return err
	}
	history := jsonNull
	if len(rows) > 0 {
		history = r.s.oldMessages(rows, noteForAgents).json()
	}
	var array phpArray
	array.set("chat_history", history)
	array.set("action", jsonText("wplc_chat_history"))
	r.say(array.json())
	return nil
}
