<?php
/* The visitor's loop: wplc_call_to_server_visitor. */

/** The state of one visitor request over its rounds. Keys keep the order they came in. */
class Testchat_Visitor_Loop {
	private $answer = array( 'check' => false, 'debug' => '' );
	private $cid;
	private $asked;   // the status that the browser believes in
	private $session; // the page's start time, new with every page load
	private $short;   // answer at once, whatever there is
	private $name;
	private $email;
	private $mobile;

	public function __construct() {
		$this->cid     = sanitize_text_field( testchat_post( 'cid' ) );
		$this->asked   = sanitize_text_field( testchat_post( 'status' ) );
		$this->session = sanitize_text_field( testchat_post( 'wplcsession' ) );
		$this->short   = 'true' === testchat_post( 'short_poll' ) || '1' === testchat_post( 'first_run' );
		$this->name    = sanitize_text_field( testchat_post( 'wplc_name' ) );
		$this->email   = sanitize_text_field( testchat_post( 'wplc_email' ) );
		$this->mobile  = 'true' === testchat_post( 'wplc_is_mobile' );
		if ( ! $this->is_new() ) {
			$this->answer['aname'] = apply_filters( 'wplc_filter_admin_from', 'Admin' );
		}
	}

	private function is_new() {
		return '' === $this->cid || 'null' === $this->cid || 0 == $this->cid;
	}

	/** One round: what to print, or null to go on holding. */
	public function round( $i ) {
		if ( $this->is_new() ) {
			return $this->first_contact();
		}
		$row    = testchat_session( $this->cid );
		$status = $row ? $row->status : null;

		$this->answer['wplc_name']  = $this->name;
		$this->answer['wplc_email'] = $this->email;
		$this->answer['cid']        = $this->cid;
		$this->answer['aid']        = $this->cid;
		$this->answer               = apply_filters( 'wplc_filter_user_long_poll_chat_loop_iteration', $this->answer, $_POST, $i, $row );
		if ( $status == $this->asked ) {
			if ( $this->moved_to_other_tab( $i ) ) {
				$this->answer['status'] = 11;
				return $this->answer; // check stays false
			}
			$this->same_status( $i );
		} else {
			$this->other_status( $status, $row );
		}
		if ( $this->short ) {
			$this->answer += array( 'status' => $status );

			$this->answer['check'] = true;
		}
		return $this->answer['check'] ? $this->answer : null;
	}

	private function first_contact() {
		$name  = '' !== $this->name ? $this->name : 'Guest';
		$email = '' !== $this->email ? $this->email : 'no email set';
		$row   = array(
			'name'    => $name,
			'email'   => $email,
			'status'  => 5,
			'session' => $this->session,
			'other'   => serialize( array( 'user_type' => 1, 'user_is_mobile' => $this->mobile ) ),
		);
		$cid   = testchat_insert_session( $row );
		do_action( 'wplc_log_user_on_page_after_hook', $cid, $row );

		$this->answer['check']      = true;
		$this->answer['cid']        = $cid;
		$this->answer['status']     = '5';
		$this->answer['wplc_name']  = $name;
		$this->answer['wplc_email'] = $email;
		return $this->answer;
	}

	/**
	 * The newest page owns the chat. The first round has just written this page's own
	 * session, so the row is read again from the second on.
	 */
	private function moved_to_other_tab( $i ) {
		if ( 2 == $this->asked || 1 === $i || '' === $this->session ) {
			return false;
		}
		$row = testchat_session( $this->cid );
		return $row && '' !== $row->session && $row->session !== $this->session;
	}

	private function heartbeat( $status ) {
		wplc_update_user_on_page( $this->cid, $status, $this->session );
	}

	private function same_status( $i ) {
		// Waiting and unanswered visitors must be able to age.
		if ( 1 === $i && ! in_array( $this->asked, array( '2', '12' ), true ) ) {
			$this->heartbeat( $this->asked );
		}
		switch ( $this->asked ) {
			case '0':
			case '12':
				$this->answer['status'] = 12;
				break;
			case '10':
				$this->answer['alert'] = true;
				$this->take_messages( 3 );
				break;
			case '3':
				$this->take_messages( 3 );
				break;
			case '2':
				$this->answer['debug'] = 'we are here 299';
				$this->take_messages( 2 );
				break;
		}
	}

	private function take_messages( $status ) {
		$messages = testchat_take_new_messages( $this->cid, array( 0, 1 ) );
		if ( $messages ) {
			$this->answer['status'] = $status;
			$this->answer['data']   = $messages;
			$this->answer['check']  = true;
		}
	}

	private function other_status( $status, $row ) {
		$this->answer['debug'] .= ' Doesnt match ' . $status . ' ' . $this->asked;
		$this->answer['status'] = $status;
		switch ( $status ) {
			case '1':
				$this->heartbeat( 8 );
				$this->answer['status'] = 8;
				$this->answer['data']   = array( 9999 => array( 'msg' => 'Admin has closed and ended the chat' ) );
				$this->answer['check']  = true;
				break;
			case '2':
				$this->answer['debug']      = 'we are here 340';
				$this->answer['wplc_name']  = $row->name;
				$this->answer['wplc_email'] = $row->email;
				$this->answer['check']      = true;
				$this->add_history();
				break;
			case '3':
				$this->answer['data']  = null;
				$this->answer['check'] = true;
				if ( '5' === $this->asked ) {
					$this->answer['sound'] = false;
					$this->add_history();
				}
				break;
			case '7':
				$this->heartbeat( 5 );
				break;
			case '9':
				$this->answer['check'] = true;
				break;
			case '10':
				$this->answer['check'] = true;
				if ( '5' === $this->asked ) {
					$this->add_history();
				}
				break;
			case '12':
				$this->heartbeat( 12 );
				do_action( 'wplc_hook_missed_chat', array( 'cid' => $this->cid, 'name' => $row->name, 'email' => $row->email ) );
				$this->answer['data']  = $this->no_answer();
				$this->answer['check'] = true;
				break;
		}
	}

	private function add_history() {
		$history = wplc_return_chat_messages( $this->cid, true );
		if ( $history ) {
			$this->answer['data'] = $history;
		}
	}

	private function no_answer() {
		$settings = get_option( 'WPLC_SETTINGS' );
		$text     = ! empty( $settings['wplc_user_no_answer'] ) ? stripslashes( $settings['wplc_user_no_answer'] )
			: 'No agent was able to answer your chat request. Please try again.';
		return "<span class='wplc_system_notification wplc_no_answer wplc-color-4'><center>" .
			apply_filters( 'wplc_filter_no_answer_string', $text, $this->cid ) .
			" <br /><button class='wplc_retry_chat wplc-color-bg-1 wplc-color-2' cid='$this->cid'>Request new chat</button></center></span>";
	}
}

function testchat_visitor_round() {
	return array( new Testchat_Visitor_Loop(), 'round' );
}
