<?php
// What Icinga Web shows of a check's output, which is read from standard input, on the page of its
// service: by Icinga DB Web or by the module "monitoring", as the first argument says.

use Icinga\Application\Cli;
use Icinga\Module\Icingadb\Util\PluginOutput;
use Icinga\Module\Icingadb\Widget\PluginOutputContainer;

const CHARACTER_LIMIT = 10000; // of that page, by default; other pages have less

error_reporting(E_ALL & ~E_DEPRECATED); // the libraries of Debian 12 are older than its PHP
ini_set('display_errors', 'stderr');
require '/usr/share/php/Icinga/Application/Cli.php';
Cli::start('/usr/share/icingaweb2');

spl_autoload_register(function ($class) {
    $parts = explode('\\', $class);
    if (array_slice($parts, 0, 2) === array('Icinga', 'Module')) {
        $module = strtolower($parts[2]);
        $file = implode('/', array_slice($parts, 2));
        require "/usr/share/icingaweb2/modules/$module/library/$file.php";
    }
});

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
