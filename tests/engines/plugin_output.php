<?php
// What Icinga Web shows of a check's output, which is read from standard input, on the page of its
// service: by Icinga DB Web or by the module "monitoring", as the first argument says.

use Icinga\Module\Icingadb\Util\PluginOutput;
use Icinga\Module\Icingadb\Widget\PluginOutputContainer;

const CHARACTER_LIMIT = 10000; // of that page, by default; other pages have less

require __DIR__ . '/icinga_web.php';

$text = stream_get_contents(STDIN);
if ($argv[1] === 'icingadb') {
    $output = new PluginOutput($text);
    if (method_exists($output, 'setCharacterLimit')) {
        $output->setCharacterLimit(CHARACTER_LIMIT);
    }
    echo (new PluginOutputContainer($output))->render();
} else {
    require '/usr/share/icingaweb2/modules/monitoring/application/views/helpers/PluginOutput.php';
    $helper = new Zend_View_Helper_PluginOutput();
    $parts = explode("\n", $text, 2);
    echo $helper->pluginOutput($parts[0]) . $helper->pluginOutput(isset($parts[1]) ? $parts[1] : '');
}
