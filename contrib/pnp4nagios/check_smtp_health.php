<?php
#
# Graphs of check_smtp_health for PNP4Nagios: for each target its stages, stacked, with
# the response time as a line above them; and all else that was measured, with its limits.
#
# Copy it into PNP's folder templates/ and check_smtp_health.cfg into etc/check_commands/, under the
# names of your check commands: check_smtp_health, check_submission_health, with Icinga smtp_health.
# Written by contrib/generate.
#
$stacked = array(
    'resolve' => '#9aa5b1',
    'connect' => '#4e79a7',
    'tls' => '#59a14f',
    'banner' => '#f28e2b',
    'helo' => '#edc948',
    'starttls' => '#a0cbe8',
    'auth' => '#b07aa1',
    'mail' => '#76b7b2',
    'rcpt' => '#2f7f86',
    'relay' => '#e15759',
    'command' => '#9c755f',
    'data' => '#ff9da7',
);
$colours = $stacked + array(
    'token' => '#6b4c9a',
    'quit' => '#c7b8ae',
    'delivery' => '#d37295',
    'time' => '#1a7dd7',
    'certificate_days' => '#59a14f',
    'healthy' => '#4e79a7',
);
$warning = '#e0a100';
$critical = '#c4162a';

# PNP has set them to false, and PHP 8 complains where that becomes an array.
$ds_name = array();
$opt = array();
$def = array();

# The labels of several targets are TARGET::label.
$targets = array();
foreach ($this->DS as $metric) {
    $parts = explode('::', $metric['LABEL']);
    $label = array_pop($parts);
    $targets[implode('::', $parts)][$label] = $metric;
}

$graph = 0;
$numbers = array('LAST', 'AVERAGE', 'MAX');
foreach ($targets as $target => $metrics) {
    $where = trim("$hostname / $servicedesc $target");
    $stages = array_intersect_key($stacked, $metrics);
    if ($stages) {
        $graph++;
        $ds_name[$graph] = trim("stages $target");
        $opt[$graph] = "--vertical-label \"s\" --lower-limit 0 --title \"Stages of $where\" ";
        $def[$graph] = '';
        foreach ($stages as $stage => $colour) {
            $metric = $metrics[$stage];
            $def[$graph] .= rrd::def("{$stage}_all", $metric['RRDFILE'], $metric['DS'], 'AVERAGE');
            # What is unknown would take all that lies upon it out of the picture.
            $def[$graph] .= rrd::cdef($stage, "{$stage}_all,UN,0,{$stage}_all,IF");
        }
        $is_stacked = false;
        foreach ($stages as $stage => $colour) {
            $def[$graph] .= rrd::area($stage, $colour, rrd::cut($stage, 9), $is_stacked);
            $is_stacked = true;
            $def[$graph] .= rrd::gprint("{$stage}_all", $numbers, '%6.3lf s');
        }
        if (isset($metrics['time'])) {
            $metric = $metrics['time'];
            $def[$graph] .= rrd::def('whole', $metric['RRDFILE'], $metric['DS'], 'AVERAGE');
            $def[$graph] .= rrd::line2('whole', $colours['time'], rrd::cut('time', 9));
            $def[$graph] .= rrd::gprint('whole', $numbers, '%6.3lf s');
        }
    }
    foreach (array_diff_key($metrics, $stages) as $label => $metric) {
        $graph++;
        $unit = $metric['UNIT'];
        $colour = isset($colours[$label]) ? $colours[$label] : '#4e79a7';
        $ds_name[$graph] = trim("$label $target");
        $opt[$graph] = "--vertical-label \"$unit\" --lower-limit 0 --title \"$label of $where\" ";
        $def[$graph] = rrd::def('value', $metric['RRDFILE'], $metric['DS'], 'AVERAGE');
        $def[$graph] .= rrd::area('value', "{$colour}60");
        $def[$graph] .= rrd::line1('value', $colour, rrd::cut($label, 16));
        $def[$graph] .= rrd::gprint('value', $numbers, "%6.3lf $unit");
        # A limit is a number, or a range of which either end may be open. A rule never changes the
        # scale: one that is far above is not in the picture.
        foreach (array('WARN' => $warning, 'CRIT' => $critical) as $kind => $rule) {
            foreach (array($kind, "{$kind}_MIN", "{$kind}_MAX") as $end) {
                if (isset($metric[$end]) && is_numeric($metric[$end])) {
                    $limit = strtolower($kind) . " {$metric[$end]}\\n";
                    $def[$graph] .= rrd::hrule($metric[$end], $rule, $limit);
                }
            }
        }
    }
}
?>
