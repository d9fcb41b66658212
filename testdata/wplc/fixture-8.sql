-- Chats of WP Live Chat Support 8.0.25 as the plugin stores them, text exact (a
-- backslash in a value is written twice here). For the tables of
-- testdata/schema/wplc-8.sql; ids are fixed, all NOT NULL columns are filled.
--
-- The sessions' times count back from @now, a datetime in the site's own zone.
-- SET @now before, on the same connection, for another than this one. The
-- messages' times are fixed: site zone Europe/Helsinki.
SET @now = IFNULL(@now, '2019-03-19 10:32:00');
SET @ua = 'a:2:{s:2:"ip";s:0:"";s:10:"user_agent";s:22:"Mozilla/5.0 Chrome/73.";}';

INSERT INTO `wp_wplc_chat_sessions`
  (`id`, `timestamp`, `name`, `email`, `ip`, `status`, `session`, `url`, `last_active_timestamp`, `agent_id`, `other`, `rel`) VALUES
(41, @now - INTERVAL 125 SECOND, 'Ann O\\\'Neil', 'ann@example.com', @ua, 3, '1552987800001', 'https://shop.example/produkt/kaffee-und-tee/?x=1', @now, 1,
  'a:5:{s:9:"user_type";i:1;s:14:"user_is_mobile";b:0;s:10:"unanswered";b:1;s:7:"welcome";b:1;s:3:"aid";i:1;}', ''),
(42, @now - INTERVAL 30 SECOND, 'Bob', 'bob@example.com', @ua, 2, '1552987800002', 'https://shop.example/', @now, 0,
  'a:4:{s:9:"user_type";i:1;s:14:"user_is_mobile";b:1;s:10:"unanswered";b:1;s:7:"welcome";b:1;}', ''),
(43, @now - INTERVAL 4000 SECOND, 'Guest', 'no email set', @ua, 5, '1552987800003', 'https://shop.example', @now, 0,
  'a:2:{s:9:"user_type";i:1;s:14:"user_is_mobile";b:0;}', ''),
(44, @now - INTERVAL 90000 SECOND, 'Cy', 'cy@example.com', @ua, 12, '1552987800004', 'https://shop.example/a', @now, 0, '', ''),
(45, @now, 'Dee', 'dee@example.com', @ua, 1, '1552987800005', 'https://shop.example/a', @now, 1, '', ''),
(46, @now, 'Eva', 'eva@example.com', @ua, 10, '1552987800006', 'https://shop.example/a', @now, 1, '', '');

INSERT INTO `wp_wplc_chat_msgs`
  (`id`, `chat_sess_id`, `msgfrom`, `msg`, `timestamp`, `status`, `originates`, `other`, `rel`, `afrom`, `ato`) VALUES
(901, 41, 'Ann O\\\'Neil', 'Hi, it\\\'s me', '2019-03-19 10:30:00', 1, 2, '', '', 0, 0),
(902, 41, 'System notification', 'Admin has joined the chat.', '2019-03-19 10:30:05', 1, 0,
  'a:7:{s:5:"ntype";s:6:"joined";s:5:"email";s:32:"51965088c5db83c3fd307f308d25198a";s:4:"name";s:5:"Admin";s:3:"aid";i:1;s:13:"agent_tagline";s:0:"";s:9:"agent_bio";s:0:"";s:12:"social_links";s:0:"";}', '', 0, 0),
(903, 41, 'Admin', 'Hello \\"Ann\\"', '2019-03-19 10:30:09', 1, 1, 'a:1:{s:3:"aid";i:1;}', '', 0, 0),
(904, 41, 'System notification', 'User is browsing <small><a href=\'https://shop.example/\' target=\'_BLANK\'>https://shop.example/</a></small>', '2019-03-19 10:30:11', 0, 3, '', '', 0, 0),
(905, 41, 'Admin', 'See <a href=\\\'https://shop.example/a?b=1&c=2\\\'>here</a> \\\\ done', '2019-03-19 10:31:00', 0, 1, 'a:1:{s:3:"aid";i:1;}', '', 0, 0),
(906, 41, 'Ann O\\\'Neil', 'Grüße 漢\nline 2', '2019-07-01 09:00:00', 0, 2, '', '', 0, 0),
(907, 41, 'Admin', 'api msg', '2019-03-19 10:31:01', 0, 1, 'a:1:{s:3:"aid";s:1:"1";}', '1552987861000', 0, 0),
(908, 46, 'Admin', 'You there?', '2019-03-19 10:31:01', 0, 1, '', '', 0, 0);
